//! Network namespaces for tests, each with nothing in it but what the test puts there. It needs root
//! and iproute2.

use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, gettid};

/// Runs `test` on a thread of its own in a new namespace, which is gone afterwards.
pub(crate) fn in_namespace<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace (root is needed)");
        test()
    });
    match thread.join() {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Runs `ip` in this thread's namespace.
pub(crate) fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.expect("iproute2 is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {said}");
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(future);
    runtime.shutdown_timeout(Duration::from_secs(2));
    outcome
}

/// Another machine: a namespace of its own, at the other end of a cable.
pub(crate) struct Other {
    thread: Pid,
    /// What it is to do; it ends when this is dropped.
    work: Option<mpsc::Sender<String>>,
    done: mpsc::Receiver<()>,
    running: Option<thread::JoinHandle<()>>,
}

impl Other {
    pub(crate) fn start() -> Other {
        let (work, to_do) = mpsc::channel::<String>();
        let (did, done) = mpsc::channel();
        let (started, starts) = mpsc::channel();
        let running = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace (root is needed)");
            started.send(gettid()).unwrap();
            for arguments in to_do {
                ip(&arguments);
                did.send(()).unwrap();
            }
        });
        let thread = starts.recv().expect("the thread starts");
        Other { thread, work: Some(work), done, running: Some(running) }
    }

    /// Lays a cable: `near` in this thread's namespace, `far` there.
    pub(crate) fn cable(&self, near: &str, far: &str) {
        ip(&format!("link add {near} type veth peer name {far} netns {}", self.thread));
    }

    /// Runs `ip` there.
    pub(crate) fn ip(&self, arguments: &str) {
        let work = self.work.as_ref().expect("it runs until it is dropped");
        work.send(arguments.to_owned()).expect("it runs");
        self.done.recv().unwrap_or_else(|_| panic!("ip {arguments} failed there"));
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.work.take());
        let _ = self.running.take().map(thread::JoinHandle::join);
    }
}

//! Chromium, as Debian has it, driven over its own protocol.

#![expect(clippy::expect_used, reason = "it is test code, and a panic is how a test fails")]

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chromiumoxide::Page;
use chromiumoxide::browser::{Browser as Chromium, BrowserConfig};
use chromiumoxide::cdp::IntoEventKind;
use chromiumoxide::cdp::browser_protocol::emulation::SetDeviceMetricsOverrideParams;
use chromiumoxide::cdp::browser_protocol::log::{EnableParams as EnableLog, EventEntryAdded};
use chromiumoxide::cdp::browser_protocol::memory::GetDomCountersParams;
use chromiumoxide::cdp::browser_protocol::network::{
    EnableParams as EnableNetwork, EventRequestWillBeSent, EventWebSocketCreated,
};
use chromiumoxide::cdp::browser_protocol::page::{
    AddScriptToEvaluateOnNewDocumentParams, CaptureScreenshotFormat,
};
use chromiumoxide::cdp::js_protocol::heap_profiler::CollectGarbageParams;
use chromiumoxide::cdp::js_protocol::runtime::{
    EvaluateParams, EventConsoleApiCalled, EventExceptionThrown, GetHeapUsageParams,
};
use chromiumoxide::page::ScreenshotParams;
use chromiumoxide::types::Command;
use futures_util::StreamExt;
use serde_json::Value;
use tempfile::TempDir;
use testbed::eventually::eventually;
use testbed::program::SOON;
use tokio::runtime::Runtime;

/// A browser with a profile of its own.
#[derive(Debug)]
pub struct Browser {
    runtime: Arc<Runtime>,
    chromium: Chromium,
    _profile: TempDir,
}

/// One of its tabs. What the page complained about, and what it asked for, is collected.
#[derive(Debug)]
pub struct Tab {
    runtime: Arc<Runtime>,
    page: Page,
    complaints: Arc<Mutex<Vec<String>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Browser {
    /// Starts one with further arguments.
    ///
    /// # Panics
    /// It does not come up.
    pub fn start(arguments: &[&str]) -> Browser {
        Browser::start_with(arguments, &[])
    }

    /// The same with variables of its own.
    ///
    /// # Panics
    /// It does not come up.
    pub fn start_with(arguments: &[&str], variables: &[(&str, &str)]) -> Browser {
        let profile = tempfile::tempdir().expect("a temporary directory");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let config = BrowserConfig::builder()
            .chrome_executable("/usr/bin/chromium")
            .new_headless_mode()
            .no_sandbox()
            .user_data_dir(profile.path())
            .window_size(1000, 700)
            .viewport(None)
            .launch_timeout(SOON)
            .request_timeout(SOON)
            .args(["disable-gpu", "disable-quic", "disable-component-update", "hide-scrollbars"])
            .args(arguments.iter().copied())
            .envs(variables.iter().copied())
            .build()
            .expect("a configuration");
        let launched = runtime.block_on(Chromium::launch(config));
        let (chromium, mut handler) = launched.expect("Chromium starts");
        runtime.spawn(async move { while handler.next().await.is_some() {} });
        Browser { runtime: Arc::new(runtime), chromium, _profile: profile }
    }

    /// An empty tab.
    ///
    /// # Panics
    /// The browser does not answer.
    pub fn tab(&self) -> Tab {
        let page = self.runtime.block_on(self.chromium.new_page("about:blank")).expect("a tab");
        let tab = Tab {
            runtime: Arc::clone(&self.runtime),
            page,
            complaints: Arc::default(),
            requests: Arc::default(),
        };
        tab.command(EnableLog::default());
        tab.command(EnableNetwork::default());
        tab.collect(&tab.complaints, |event: &EventConsoleApiCalled| {
            format!("console: {:?} {:?}", event.r#type, event.args)
        });
        tab.collect(&tab.complaints, |event: &EventExceptionThrown| {
            format!("exception: {:?}", event.exception_details)
        });
        // Content-Security-Policy's violations are among these.
        tab.collect(&tab.complaints, |event: &EventEntryAdded| {
            format!("log: {} {:?}", event.entry.text, event.entry.url)
        });
        tab.collect(&tab.requests, |event: &EventRequestWillBeSent| event.request.url.clone());
        tab.collect(&tab.requests, |event: &EventWebSocketCreated| event.url.clone());
        tab
    }

    /// A tab with a page.
    ///
    /// # Panics
    /// It does not load.
    pub fn open(&self, url: &str) -> Tab {
        let tab = self.tab();
        tab.go(url);
        tab
    }

    /// Processes of the browser and how many KiB each has in memory, by the kernel.
    pub fn rss_kib(&mut self) -> u64 {
        let parent = self.chromium.get_mut_child().map(|child| child.inner.id());
        let parent = parent.flatten().unwrap_or(0);
        descendants(parent).into_iter().filter_map(rss_kib).sum()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let Browser { runtime, chromium, .. } = self;
        runtime.block_on(async {
            // One that does not close is killed when it is dropped.
            let _ = tokio::time::timeout(Duration::from_secs(10), chromium.close()).await;
            let _ = tokio::time::timeout(Duration::from_secs(10), chromium.wait()).await;
        });
    }
}

fn descendants(parent: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let children = children.unwrap_or_default();
    let own = children.split_whitespace().filter_map(|id| id.parse().ok());
    own.flat_map(descendants).chain([parent]).collect()
}

fn rss_kib(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// What a page holds in memory.
#[derive(Debug, Clone, Copy)]
pub struct Heap {
    /// Of JavaScript, and of the buffers that it holds.
    pub bytes: u64,
    /// Of the document.
    pub nodes: u64,
}

impl Tab {
    /// Waits for the browser, not for ever: it may have died, and nobody says so.
    ///
    /// # Panics
    /// It does not answer.
    fn answer<T>(&self, asked: impl Future<Output = T>) -> T {
        let within = async { tokio::time::timeout(2 * SOON, asked).await };
        self.runtime.block_on(within).expect("the browser answers")
    }

    /// What the page holds, after the garbage was collected.
    ///
    /// # Panics
    /// The browser does not answer.
    pub fn heap(&self) -> Heap {
        self.command(CollectGarbageParams::default());
        let usage = self.command(GetHeapUsageParams::default());
        let counters = self.command(GetDomCountersParams::default());
        let bytes = usage.used_size + usage.backing_storage_size;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a size")]
        let bytes = bytes as u64;
        Heap { bytes, nodes: counters.nodes.try_into().unwrap_or(0) }
    }

    fn collect<E: IntoEventKind + Unpin + Send + Sync + 'static>(
        &self,
        into: &Arc<Mutex<Vec<String>>>,
        text: impl Fn(&E) -> String + Send + 'static,
    ) {
        let events = self.answer(self.page.event_listener::<E>());
        let (mut events, into) = (events.expect("events"), Arc::clone(into));
        self.runtime.spawn(async move {
            while let Some(event) = events.next().await {
                into.lock().unwrap_or_else(PoisonError::into_inner).push(text(&event));
            }
        });
    }

    /// Sends a command of the protocol.
    ///
    /// # Panics
    /// It fails.
    pub fn command<C: Command>(&self, command: C) -> C::Response {
        let name = command.identifier();
        let answer = self.answer(self.page.execute(command));
        answer.unwrap_or_else(|error| failed(&name, &error.to_string())).result
    }

    /// Loads a page.
    ///
    /// # Panics
    /// It does not load.
    pub fn go(&self, url: &str) {
        self.answer(self.page.goto(url)).expect("the page loads");
    }

    /// A script that every page runs before its own.
    ///
    /// # Panics
    /// The browser does not answer.
    pub fn before_each_page(&self, script: &str) {
        self.command(AddScriptToEvaluateOnNewDocumentParams::new(script));
    }

    /// The value of an expression; a promise's when it is kept.
    ///
    /// # Panics
    /// It throws.
    pub fn eval(&self, expression: &str) -> Value {
        let found = self.answer(self.page.evaluate_expression(expression));
        let found = found.unwrap_or_else(|error| failed(expression, &error.to_string()));
        found.value().cloned().unwrap_or(Value::Null)
    }

    /// The value of an expression in each frame of the page, its own included; null where it throws.
    ///
    /// # Panics
    /// The browser does not answer.
    pub fn eval_in_frames(&self, expression: &str) -> Vec<Value> {
        self.answer(async {
            let mut found = Vec::new();
            for frame in self.page.frames().await.expect("frames") {
                let Ok(Some(context)) = self.page.frame_execution_context(frame).await else {
                    continue;
                };
                let mut evaluate = EvaluateParams::new(expression);
                evaluate.context_id = Some(context);
                evaluate.return_by_value = Some(true);
                let value = self.page.execute(evaluate).await;
                let value = value.ok().and_then(|value| value.result.result.value);
                found.push(value.unwrap_or(Value::Null));
            }
            found
        })
    }

    /// The same as a text; empty if it is none.
    pub fn text(&self, expression: &str) -> String {
        self.eval(expression).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression is true, on this page or one that it leads to.
    ///
    /// # Panics
    /// It never is.
    pub fn becomes(&self, expression: &str) {
        let ask = |expression: &str| -> Result<Value, String> {
            // While another page comes there is nobody to ask.
            let found = self.answer(self.page.evaluate_expression(expression));
            let found = found.map_err(|error| error.to_string())?;
            Ok(found.value().cloned().unwrap_or(Value::Null))
        };
        eventually(expression, SOON, || {
            if ask(expression)? == Value::Bool(true) {
                return Ok(());
            }
            Err(format!("{}\n{:?}", ask("document.body.innerText")?, self.complaints()))
        });
    }

    /// Makes the window so large, in CSS pixels.
    ///
    /// # Panics
    /// The browser does not answer.
    pub fn resize(&self, width: i64, height: i64, density: f64, mobile: bool) {
        self.command(SetDeviceMetricsOverrideParams::new(width, height, density, mobile));
    }

    /// What the window shows, as PNG.
    ///
    /// # Panics
    /// The browser does not answer.
    pub fn screenshot(&self, path: &Path) {
        let how = ScreenshotParams::builder().format(CaptureScreenshotFormat::Png).build();
        let png = self.answer(self.page.screenshot(how)).expect("a screenshot");
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        fs::write(path, png).expect("it can be written");
    }

    /// What the page wrote to the console, did not catch, or was not allowed to do.
    pub fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The addresses that it asked for, WebSockets included.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Presses a key, as a person does, where an element has the focus.
    ///
    /// # Panics
    /// There is no such element.
    pub fn press(&self, element: &str, key: &str) {
        let pressed = self.answer(async {
            let element = self.page.find_element(element).await?;
            element.focus().await?.press_key(key).await.map(|_| ())
        });
        pressed.expect("a key can be pressed");
    }

    /// Comes to the front of its browser: others are hidden then.
    ///
    /// # Panics
    /// The browser does not answer.
    pub fn to_front(&self) {
        self.answer(self.page.bring_to_front()).expect("it comes to the front");
    }
}

#[expect(clippy::panic, reason = "it is test code")]
fn failed(what: &str, why: &str) -> ! {
    panic!("{what}: {why}")
}

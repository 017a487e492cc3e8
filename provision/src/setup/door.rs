//! The keeper's socket: who may ask, how many at a time, how long each may take.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::User;
use runtime::setup::{Answer, Ask, MAX_REQUEST, USER};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Desk;

/// The page has one for each request that it answers.
const MAX_CONNECTIONS: usize = 8;

/// How long a request or an answer may take to pass the socket.
const PASSED_WITHIN: Duration = Duration::from_secs(2);

/// Pause after an error that does not go away by itself, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens for the page.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    // From an earlier run.
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    // Everybody may knock; who is let in is the kernel's word (peer credentials).
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Answers for ever.
pub(super) async fn answer(listener: UnixListener, desk: Arc<Desk>) {
    let own = nix::unistd::getuid().as_raw();
    let page = User::from_name(USER).ok().flatten().map(|user| user.uid.as_raw());
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!("accept: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let uid = stream.peer_cred().map(|peer| peer.uid()).ok();
        if uid.is_none() || (uid != Some(own) && uid != page) {
            tracing::warn!("user {uid:?} may not ask for the setup");
            continue;
        }
        let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else { continue };
        let desk = Arc::clone(&desk);
        tokio::spawn(async move {
            if let Err(error) = serve(stream, &desk).await {
                tracing::debug!("the setup page: {error}");
            }
            drop(seat);
        });
    }
}

async fn serve(mut stream: UnixStream, desk: &Desk) -> io::Result<()> {
    let mut line = Vec::new();
    let mut reader = BufReader::new((&mut stream).take(MAX_REQUEST as u64));
    timeout(PASSED_WITHIN, reader.read_until(b'\n', &mut line)).await??;
    let answer = match serde_json::from_slice::<Ask>(&line) {
        Ok(ask) => desk.answer(ask).await,
        // It may hold a password: nothing of it is repeated.
        Err(_) => Answer::Refused("this is no request".to_owned()),
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    timeout(PASSED_WITHIN, stream.write_all(&text)).await?
}

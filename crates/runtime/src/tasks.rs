//! Named tasks whose end is seen: a panic or an unexpected return is an event, and stopping them
//! has a deadline.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// The tasks of a program. Dropping it aborts them.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<()>,
    names: HashMap<Id, &'static str>,
    stop: CancellationToken,
}

/// A task ended though nobody had asked it to.
#[derive(Debug)]
pub struct Ended {
    /// The task.
    pub name: &'static str,
    /// Whether it panicked; otherwise it returned.
    pub panicked: bool,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.panicked { "panicked" } else { "returned" };
        write!(f, "the task \"{}\" {how} unexpectedly", self.name)
    }
}

impl Tasks {
    /// The token that is cancelled when the tasks should end.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task, which must end soon after the stop token is cancelled.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.set.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Waits until a task ends; for ever if there is none.
    pub async fn ended(&mut self) -> Ended {
        match self.set.join_next_with_id().await {
            Some(result) => self.name(result),
            None => std::future::pending().await,
        }
    }

    /// Asks all tasks to end and waits for them. Those that don't within `deadline` are aborted,
    /// and their names returned.
    pub async fn stop(mut self, deadline: Duration) -> Vec<&'static str> {
        self.stop.cancel();
        let all = async {
            while let Some(result) = self.set.join_next_with_id().await {
                let ended = self.name(result);
                if ended.panicked {
                    tracing::error!("the task \"{}\" panicked while stopping", ended.name);
                }
            }
        };
        // Whatever is left is aborted when the set is dropped.
        let _ = tokio::time::timeout(deadline, all).await;
        self.names.into_values().collect()
    }

    fn name(&mut self, result: Result<(Id, ()), JoinError>) -> Ended {
        let (id, panicked) = match result {
            Ok((id, ())) => (id, false),
            Err(error) => (error.id(), error.is_panic()),
        };
        Ended { name: self.names.remove(&id).unwrap_or("?"), panicked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_event_with_a_name() {
        let mut tasks = Tasks::default();
        tasks.spawn("steady", std::future::pending());
        tasks.spawn("clumsy", async { panic!("on purpose") });
        let ended = tasks.ended().await;
        assert_eq!((ended.name, ended.panicked), ("clumsy", true));
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_has_a_deadline_and_names_the_stubborn() {
        let mut tasks = Tasks::default();
        let stop = tasks.stop_token();
        tasks.spawn("polite", async move { stop.cancelled().await });
        tasks.spawn("stubborn", std::future::pending());
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, ["stubborn"]);
    }
}

//! Cameras that wait for their turn, each once, in the order in which they came.

use std::collections::{BTreeSet, VecDeque};

use frame::CameraId;

/// See the module's documentation. As many as there are cameras, at most.
#[derive(Debug, Default)]
pub(super) struct Queue {
    order: VecDeque<CameraId>,
    queued: BTreeSet<CameraId>,
}

impl Queue {
    pub(super) fn push(&mut self, camera: CameraId) {
        if self.queued.insert(camera.clone()) {
            self.order.push_back(camera);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<CameraId> {
        let camera = self.order.pop_front()?;
        self.queued.remove(&camera);
        Some(camera)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_waits_once_and_in_turn() {
        let mut queue = Queue::default();
        let ids: [CameraId; 2] = ["b", "a"].map(|id| id.parse().unwrap());
        for id in [&ids[0], &ids[1], &ids[0]] {
            queue.push(id.clone());
        }
        assert_eq!(queue.pop(), Some(ids[0].clone()));
        queue.push(ids[0].clone());
        assert_eq!(
            [queue.pop(), queue.pop(), queue.pop()],
            [Some(ids[1].clone()), Some(ids[0].clone()), None]
        );
    }
}

//! A queue from arbiters to a thread that may block.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) struct Lane<J> {
    queue: Mutex<Queue<J>>,
    bell: Condvar,
    most: usize,
}

struct Queue<J> {
    jobs: VecDeque<J>,
    closed: bool,
}

/// The end that the thread works at: nobody puts a job where no one will ever take it.
pub(super) struct Worker<J>(Arc<Lane<J>>);

impl<J> Lane<J> {
    pub fn new(most: usize) -> (Arc<Lane<J>>, Worker<J>) {
        let queue = Mutex::new(Queue { jobs: VecDeque::new(), closed: false });
        let lane = Arc::new(Lane { queue, bell: Condvar::new(), most });
        (lane.clone(), Worker(lane))
    }

    /// Never waits: a job that finds no place, or nobody to do it, comes back.
    pub fn put(&self, job: J) -> Result<(), J> {
        let mut queue = self.queue();
        if queue.closed || queue.jobs.len() >= self.most {
            return Err(job);
        }
        queue.jobs.push_back(job);
        self.bell.notify_one();
        Ok(())
    }

    /// Jobs that wait.
    pub fn len(&self) -> usize {
        self.queue().jobs.len()
    }

    /// Nothing new is taken; what is there is still done.
    pub fn close(&self) {
        self.queue().closed = true;
        self.bell.notify_all();
    }

    fn queue(&self) -> MutexGuard<'_, Queue<J>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J> Worker<J> {
    /// All that waits, as soon as anything does or the time is over; `None` when the lane is closed and empty.
    pub fn take(&self, wait: Duration) -> Option<VecDeque<J>> {
        let idle = |queue: &mut Queue<J>| queue.jobs.is_empty() && !queue.closed;
        let waited = self.0.bell.wait_timeout_while(self.0.queue(), wait, idle);
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        if queue.closed && queue.jobs.is_empty() {
            return None;
        }
        Some(std::mem::take(&mut queue.jobs))
    }

    /// Waits, whatever comes. False when the lane was closed.
    pub fn rest(&self, wait: Duration) -> bool {
        let open = |queue: &mut Queue<J>| !queue.closed;
        let waited = self.0.bell.wait_timeout_while(self.0.queue(), wait, open);
        !waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }
}

impl<J> Drop for Worker<J> {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.closed = true;
        // Dropped jobs tell those who wait for them.
        queue.jobs.clear();
    }
}

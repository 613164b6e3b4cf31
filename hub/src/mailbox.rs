//! What waits for the session of one device: a queue that takes no memory while it is empty, as most are most of the time.
//!
//! The channel of tokio has room for 32 from the start, which is 1.5 KiB for each of ten thousand devices.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// From so many on the memory of an empty queue is given back.
const KEPT: usize = 4;

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    most: usize,
    is_open: bool,
    reader: Option<Waker>,
}

/// The way in. From anyone in the hub.
#[derive(Debug)]
pub struct Sender<T>(Arc<Mutex<State<T>>>);

/// The way out, for one task. When it is dropped, nothing more goes in.
#[derive(Debug)]
pub struct Receiver<T>(Arc<Mutex<State<T>>>);

/// A queue of `most` at most.
pub fn mailbox<T>(most: usize) -> (Sender<T>, Receiver<T>) {
    let state = State { waiting: VecDeque::new(), most, is_open: true, reader: None };
    let state = Arc::new(Mutex::new(state));
    (Sender(Arc::clone(&state)), Receiver(state))
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Sender<T> {
    /// Puts one in, unless it is full or nobody takes it out any more. Returns whether it did.
    pub fn put(&self, one: T) -> bool {
        let mut state = lock(&self.0);
        let has_room = state.is_open && state.waiting.len() < state.most;
        if has_room {
            state.waiting.push_back(one);
        }
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        has_room
    }
}

impl<T> Receiver<T> {
    fn poll_take(&self, context: &Context<'_>) -> Poll<T> {
        let mut state = lock(&self.0);
        let Some(one) = state.waiting.pop_front() else {
            match &mut state.reader {
                Some(reader) => reader.clone_from(context.waker()),
                reader => *reader = Some(context.waker().clone()),
            }
            return Poll::Pending;
        };
        if state.waiting.is_empty() && state.waiting.capacity() > KEPT {
            state.waiting = VecDeque::new();
        }
        Poll::Ready(one)
    }

    /// Waits for the next one. Nothing is lost if that is given up.
    pub fn take(&self) -> impl Future<Output = T> + '_ {
        poll_fn(|context| self.poll_take(context))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.is_open = false;
        state.waiting = VecDeque::new();
        state.reader = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_put_in_comes_out_in_order_and_no_more_goes_in_than_has_room() {
        let (sender, receiver) = mailbox(3);
        assert!((1..=3).all(|n| sender.put(n)));
        assert!(!sender.put(4), "it is full");
        assert_eq!(receiver.take().await, 1);
        assert!(sender.put(5));
        for n in [2, 3, 5] {
            assert_eq!(receiver.take().await, n);
        }
        drop(receiver);
        assert!(!sender.put(6), "nobody takes it out");
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_also_from_another_thread_and_after_giving_up_once() {
        let (sender, receiver) = mailbox(1_000);
        assert!(tokio::time::timeout(std::time::Duration::ZERO, receiver.take()).await.is_err());
        let writer = std::thread::spawn(move || (0..1_000).all(|n| sender.put(n)));
        for n in 0..1_000 {
            assert_eq!(receiver.take().await, n);
        }
        assert!(writer.join().unwrap());
        assert!(lock(&receiver.0).waiting.capacity() <= KEPT, "an empty one keeps little memory");
    }
}

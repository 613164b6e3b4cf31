//! The way into the writing thread: many tasks put in, one thread takes everything out at once.
//!
//! A channel wakes its receiver for every message that finds it waiting. Here the thread says how much it waits for, and
//! is woken once, by the one who brings the last of it. Bounded: whoever puts in has waited for a place before.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// The queue, shared by both ends.
struct Shared<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
    /// Places that are free. From tasks to the thread; when none is, tasks wait.
    places: Arc<Semaphore>,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// The thread wants to be woken when this many wait.
    wake_at: usize,
    senders: usize,
    receiver: bool,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end that puts in. The queue is closed when the last one is dropped.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// The end that takes out, for a thread.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

/// The other end is gone: nothing is taken out any more.
#[derive(Debug, PartialEq, Eq)]
pub struct Closed;

/// Makes a queue of `capacity` places.
pub fn queue<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let state = State { waiting: VecDeque::new(), wake_at: usize::MAX, senders: 1, receiver: true };
    let places = Arc::new(Semaphore::new(capacity));
    let shared = Arc::new(Shared { state: Mutex::new(state), ready: Condvar::new(), places });
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.lock().senders += 1;
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.senders -= 1;
        if state.senders == 0 {
            drop(state);
            self.shared.ready.notify_one();
        }
    }
}

impl<T> Sender<T> {
    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.shared.lock().waiting.len()
    }

    /// Whether whoever puts one in now waits for a place.
    pub fn is_full(&self) -> bool {
        self.shared.places.available_permits() == 0
    }

    /// Puts one in, once there is a place.
    pub async fn send(&self, item: T) -> Result<(), Closed> {
        let place = match self.shared.places.try_acquire() {
            Ok(place) => place,
            Err(_) => self.shared.places.acquire().await.map_err(|_| Closed)?,
        };
        place.forget();
        let mut state = self.shared.lock();
        if !state.receiver {
            return Err(Closed);
        }
        state.waiting.push_back(item);
        if state.waiting.len() >= state.wake_at {
            state.wake_at = usize::MAX;
            drop(state);
            self.shared.ready.notify_one();
        }
        Ok(())
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let left = {
            let mut state = self.shared.lock();
            state.receiver = false;
            std::mem::take(&mut state.waiting)
        };
        self.shared.places.close();
        drop(left);
    }
}

impl<T> Receiver<T> {
    /// Takes all there is into `into`. Returns `false` once there is nothing left and nobody to put more in.
    pub fn take(&self, into: &mut VecDeque<T>) -> bool {
        let mut state = self.shared.lock();
        let open = state.senders > 0 || !state.waiting.is_empty();
        let taken = state.waiting.len();
        if into.is_empty() {
            std::mem::swap(into, &mut state.waiting);
        } else {
            into.append(&mut state.waiting);
        }
        drop(state);
        self.shared.places.add_permits(taken);
        open
    }

    /// Waits until `count` wait, or `patience` has passed, or nobody is left to put more in.
    pub fn wait(&self, count: usize, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.lock();
        while state.waiting.len() < count && state.senders > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state.wake_at = count;
            state = self.shared.ready.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.wake_at = usize::MAX;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everything_comes_out_once_in_the_order_of_each_sender_and_the_end_is_told() {
        let (sender, receiver) = queue(3);
        let thread = std::thread::spawn(move || {
            let (mut taken, mut all) = (VecDeque::new(), Vec::new());
            while receiver.take(&mut taken) {
                if taken.is_empty() {
                    receiver.wait(2, Duration::from_millis(1));
                }
                all.extend(taken.drain(..));
            }
            all
        });
        let mut tasks = Vec::new();
        for task in 0..4 {
            let sender = sender.clone();
            tasks.push(tokio::spawn(async move {
                for i in 0..500 {
                    sender.send((task, i)).await.unwrap();
                }
            }));
        }
        drop(sender);
        for task in tasks {
            task.await.unwrap();
        }
        let all: Vec<(i32, i32)> = tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
        for task in 0..4 {
            assert!(all.iter().filter(|item| item.0 == task).map(|item| item.1).eq(0..500));
        }
    }

    #[tokio::test]
    async fn whoever_waits_for_a_place_is_told_when_the_thread_is_gone() {
        let (sender, receiver) = queue(1);
        sender.send(1).await.unwrap();
        let waiting = tokio::spawn(async move { sender.send(2).await });
        tokio::task::yield_now().await;
        drop(receiver);
        assert_eq!(waiting.await.unwrap(), Err(Closed));
    }

    #[tokio::test]
    async fn the_thread_waits_for_as_many_as_it_asked_for() {
        let (sender, receiver) = queue(10);
        let thread = std::thread::spawn(move || {
            receiver.wait(3, Duration::from_secs(60));
            let mut taken = VecDeque::new();
            receiver.take(&mut taken);
            taken.len()
        });
        for i in 0..3 {
            sender.send(i).await.unwrap();
        }
        assert_eq!(tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap(), 3);
    }
}

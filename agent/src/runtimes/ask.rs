//! Questions to a runtime: how many at a time, how long an answer may take, and when to ask again.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::facts::Facts;
use super::join::{Asked, Join};

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How large an answer may be, bytes: thousands of containers.
pub const ANSWER: usize = 32 << 20;
/// Questions at a time.
const AT_ONCE: usize = 4;
/// When a container is asked for again that the runtime did not know: it may be busy making it.
const TRIES: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(8),
];

/// How long to wait before a runtime is tried again: at first, and at most.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Waits before a runtime is tried again: longer each time, unless it was there for a while.
#[derive(Debug)]
pub struct Backoff {
    pause: Duration,
    began: Instant,
}

impl Backoff {
    /// It is tried now.
    pub fn new() -> Self {
        Self { pause: RECONNECT.0, began: Instant::now() }
    }

    /// It did not work: waits until it is to be tried again.
    pub async fn wait(&mut self) {
        if self.began.elapsed() > RECONNECT.1 {
            self.pause = RECONNECT.0;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(RECONNECT.1);
        self.began = Instant::now();
    }
}

/// Asks one runtime.
#[derive(Clone)]
pub struct Questions {
    /// What becomes known.
    pub join: Rc<RefCell<Join>>,
    permits: Rc<Semaphore>,
}

impl Questions {
    /// Nothing is asked yet.
    pub fn new(join: Rc<RefCell<Join>>) -> Self {
        Self { join, permits: Rc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Asks, as soon as not too many others are being asked.
    pub async fn ask<T>(&self, question: impl Future<Output = T>) -> T {
        // It is never closed.
        let _permit = self.permits.acquire().await;
        question.await
    }

    /// Asks for one container, beside everything else, until it is told of.
    pub fn ask_for(&self, id: String, question: impl AsyncFn(&str) -> Option<Facts> + 'static) {
        let this = self.clone();
        tokio::task::spawn_local(async move {
            for pause in TRIES {
                let asked = async || (Asked::now(), question(&id).await);
                if let (asked, Some(facts)) = this.ask(asked()).await {
                    this.join.borrow_mut().learn(&id, &facts, true, asked);
                }
                // What is told may be of another one with the same name.
                if !this.join.borrow().is_open(&id) {
                    return;
                }
                tokio::time::sleep(pause).await;
            }
        });
    }
}

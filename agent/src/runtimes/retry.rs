//! Requests to one runtime: how many at a time, how long an answer may take, and when to retry.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::attributes::Attributes;
use super::registry::{ContainerRegistry, RequestTime};

/// How long an answer may take.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer, bytes: room for thousands of containers.
pub const ANSWER_MAX: usize = 32 << 20;
/// Concurrent requests to one runtime.
const CONCURRENT_MAX: usize = 4;
/// Delays after which a lookup is retried: the runtime may not have registered the container yet.
const RETRY_DELAYS: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(8),
];

/// Delay before a reconnect: the first one, and the longest.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Exponential backoff between connections to a runtime; starts over after one that lasted.
#[derive(Debug)]
pub struct Backoff {
    pause: Duration,
    began: Instant,
}

impl Backoff {
    /// The first connection is made now.
    pub fn new() -> Self {
        Self { pause: RECONNECT.0, began: Instant::now() }
    }

    /// The connection failed: waits until the next attempt.
    pub async fn wait(&mut self) {
        if self.began.elapsed() > RECONNECT.1 {
            self.pause = RECONNECT.0;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(RECONNECT.1);
        self.began = Instant::now();
    }
}

/// Limits the concurrent requests to one runtime and retries lookups.
#[derive(Clone)]
pub struct LookupQueue {
    /// Where answers go.
    pub registry: Rc<RefCell<ContainerRegistry>>,
    permits: Rc<Semaphore>,
}

impl LookupQueue {
    /// An empty queue.
    pub fn new(registry: Rc<RefCell<ContainerRegistry>>) -> Self {
        Self { registry, permits: Rc::new(Semaphore::new(CONCURRENT_MAX)) }
    }

    /// Runs a request once fewer than [`CONCURRENT_MAX`] others are running.
    pub async fn run<T>(&self, request: impl Future<Output = T>) -> T {
        // It is never closed.
        let _permit = self.permits.acquire().await;
        request.await
    }

    /// Looks up one container in a task of its own, with retries, until its attributes are known.
    pub fn resolve(&self, id: String, request: impl AsyncFn(&str) -> Option<Attributes> + 'static) {
        let this = self.clone();
        tokio::task::spawn_local(async move {
            for pause in RETRY_DELAYS {
                let attempt = async || (RequestTime::now(), request(&id).await);
                if let (requested, Some(attributes)) = this.run(attempt()).await {
                    this.registry.borrow_mut().update(&id, &attributes, true, requested);
                }
                // The answer may have been about another container with the same name.
                if !this.registry.borrow().is_pending(&id) {
                    return;
                }
                tokio::time::sleep(pause).await;
            }
        });
    }
}

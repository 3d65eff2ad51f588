//! Who is asked at the same time: one question a responder, and few together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Questions under way, to all responders together.
const TOGETHER_MAX: usize = 16;

/// The responders that are being asked.
pub(crate) struct Responders {
    together: Semaphore,
    /// By host and port. Bounded by the subjects that wait; the others are gone.
    each: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// Leave to ask. Dropped, it is the next one's.
pub(crate) struct Turn<'r> {
    _one: OwnedSemaphorePermit,
    _together: SemaphorePermit<'r>,
}

impl Default for Responders {
    fn default() -> Self {
        Self { together: Semaphore::new(TOGETHER_MAX), each: Mutex::default() }
    }
}

impl Responders {
    /// Waits for leave to ask this one. First for its own, so that who waits for a slow one keeps nobody else waiting.
    pub(crate) async fn turn(&self, url: &str) -> Turn<'_> {
        let one = self.of(url).acquire_owned().await.expect("no semaphore is ever closed");
        let together = self.together.acquire().await.expect("no semaphore is ever closed");
        Turn { _one: one, _together: together }
    }

    fn of(&self, url: &str) -> Arc<Semaphore> {
        let host = url.split_once("://").map_or(url, |(_, rest)| rest).split(['/', '?', '#']).next().unwrap_or(url);
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = each.get(host).and_then(Weak::upgrade) {
            return known;
        }
        each.retain(|_, known| known.strong_count() > 0);
        let new = Arc::new(Semaphore::new(1));
        each.insert(host.to_owned(), Arc::downgrade(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn is_free(responders: &Responders, url: &str) -> bool {
        tokio::time::timeout(Duration::from_millis(20), responders.turn(url)).await.is_ok()
    }

    #[tokio::test]
    async fn a_responder_is_asked_one_question_at_a_time_and_others_do_not_wait_for_it() {
        let responders = Responders::default();
        let turn = responders.turn("http://a.example/x").await;
        assert!(!is_free(&responders, "http://a.example/y").await);
        assert!(is_free(&responders, "http://b.example/x").await);
        assert!(is_free(&responders, "http://a.example:81/x").await);
        drop(turn);
        assert!(is_free(&responders, "http://a.example/y").await);
        assert!(responders.each.lock().unwrap().len() <= 3);
    }
}

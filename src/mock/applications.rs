//! The applications of a server. Each has its own key, secret, users, channels, clock, faults and log, so that tests
//! which share a server do not see each other.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Notify;

use super::error::Rejection;
use super::fixture::FixtureError;
use super::hub::{Hub, HubEnd};
use super::options::MockOptions;

/// How many applications a server has at most.
const APPLICATIONS_MAX: usize = 1000;

/// Why the first application is not deleted.
pub const FIRST_APPLICATION_STAYS: &str =
    "the first application of a server exists as long as the server";

/// The running applications, by API key.
#[derive(Debug)]
pub(crate) struct ApplicationRegistry {
    first: Arc<Hub>,
    /// The applications that were created while the server runs, in the order of their keys.
    others: RwLock<BTreeMap<String, Arc<Hub>>>,
    /// Signals the server to stop.
    pub(crate) stop: Notify,
}

impl ApplicationRegistry {
    /// A registry with one application, which has the users and channels of the options.
    pub(crate) fn new(options: MockOptions, seed: u64) -> Result<Self, FixtureError> {
        Ok(Self {
            first: Arc::new(Hub::new(options, seed)?),
            others: RwLock::default(),
            stop: Notify::new(),
        })
    }

    /// The application that exists from the start. It cannot be deleted.
    pub(crate) const fn first(&self) -> &Arc<Hub> {
        &self.first
    }

    /// The application of an API key.
    pub(crate) fn find(&self, api_key: &str) -> Option<Arc<Hub>> {
        if api_key == self.first.options.api_key {
            return Some(self.first.clone());
        }
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        others.get(api_key).cloned()
    }

    /// The application that answers a request with this API key. Without a known key it is the first, which rejects the
    /// request. If there is no other application, the key is not looked for.
    pub(crate) fn answering<'a>(&self, api_key: impl FnOnce() -> Option<Cow<'a, str>>) -> Arc<Hub> {
        let is_alone = self
            .others
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty();
        if is_alone {
            return self.first.clone();
        }
        api_key()
            .and_then(|api_key| self.find(&api_key))
            .unwrap_or_else(|| self.first.clone())
    }

    /// All applications; the default one comes first.
    pub(crate) fn list(&self) -> Vec<Arc<Hub>> {
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        std::iter::once(&self.first)
            .chain(others.values())
            .cloned()
            .collect()
    }

    /// Creates an empty application with the rules of the first, and processes its deadlines until it ends.
    ///
    /// # Errors
    ///
    /// There are too many, or the server is stopping.
    pub(crate) fn create(&self) -> Result<Arc<Hub>, Rejection> {
        let first = &self.first.options;
        let options = MockOptions {
            control_token: first.control_token.clone(),
            ca_file: first.ca_file.clone(),
            replay: first.replay.clone(),
            has_console: first.has_console,
            rules: first.rules.clone(),
            read_timeout: first.read_timeout,
            ..MockOptions::default()
        };
        let api_key = options.api_key.clone();
        let hub = Hub::new(options, rand::random())
            .map_err(|error| Rejection::input(error.to_string()))?;
        let hub = Arc::new(hub);
        let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that no application is added after all have been told to end.
        if self.first.has_ended() {
            return Err(Rejection::input("the server is stopping"));
        }
        if others.len() + 1 >= APPLICATIONS_MAX {
            return Err(Rejection::input(format!(
                "the server has {APPLICATIONS_MAX} applications; delete one first"
            )));
        }
        others.insert(api_key, hub.clone());
        drop(others);
        let ticking = hub.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = ticking.tick() => {}
                _ = ticking.ended() => {}
            }
        });
        Ok(hub)
    }

    /// Deletes an application, and closes its connections. Returns how many there were.
    ///
    /// # Errors
    ///
    /// There is none with this key, or it is the first one.
    pub(crate) fn delete(&self, api_key: &str) -> Result<usize, Rejection> {
        if api_key == self.first.options.api_key {
            return Err(Rejection::input(FIRST_APPLICATION_STAYS));
        }
        let removed = self
            .others
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(api_key);
        match removed {
            Some(hub) => Ok(hub.end(HubEnd::Deleted)),
            None => Err(Rejection::not_found(format!(
                "application {api_key:?} was not found"
            ))),
        }
    }

    /// Ends all applications, because the server stops.
    pub(crate) fn shut_down(&self) {
        // After this, no more are created.
        self.first.end(HubEnd::Shutdown);
        for hub in self.list() {
            hub.end(HubEnd::Shutdown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_application_is_found_by_its_key_until_it_is_deleted() {
        let registry = ApplicationRegistry::new(MockOptions::default(), 1).unwrap();
        let first = registry.first().options.api_key.clone();
        let key = registry.create().unwrap().options.api_key.clone();
        assert_eq!(registry.find(&key).unwrap().options.api_key, key);
        assert_eq!(
            registry.answering(|| Some(Cow::from(&key))).options.api_key,
            key
        );
        for unknown in [None, Some(""), Some("other")] {
            assert_eq!(
                registry
                    .answering(|| unknown.map(Cow::from))
                    .options
                    .api_key,
                first
            );
        }
        assert_eq!(registry.list().len(), 2);
        assert_eq!(registry.delete(&key), Ok(0));
        assert!(registry.find(&key).is_none());
        assert_eq!(registry.delete(&key).unwrap_err().status, 404);
        assert_eq!(registry.delete(&first).unwrap_err().status, 400);
    }

    #[tokio::test]
    async fn the_number_of_applications_is_limited() {
        let registry = ApplicationRegistry::new(MockOptions::default(), 1).unwrap();
        for _ in 1..APPLICATIONS_MAX {
            registry.create().unwrap();
        }
        assert_eq!(registry.create().unwrap_err().status, 400);
    }

    #[tokio::test]
    async fn nothing_is_created_while_the_server_stops() {
        let registry = ApplicationRegistry::new(MockOptions::default(), 1).unwrap();
        registry.shut_down();
        assert!(registry.create().is_err());
    }
}

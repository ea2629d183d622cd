//! Names to addresses.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;

use tokio::sync::Semaphore;

/// What resolves names. Each name is asked for once per connection.
#[async_trait::async_trait]
pub trait Resolve: Send + Sync {
    /// The addresses of a name, best first.
    ///
    /// # Errors
    ///
    /// If there are none, or that cannot be found out.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// As this machine resolves names: `/etc/hosts`, DNS and what else it is set up for.
pub struct System {
    places: Arc<Semaphore>,
}

impl System {
    /// That resolves so many names at once. A lookup that nobody waits for any more has its place
    /// until it has ended: the system cannot be told to stop.
    pub fn new(lookups_max: usize) -> System {
        System { places: Arc::new(Semaphore::new(lookups_max)) }
    }
}

#[async_trait::async_trait]
impl Resolve for System {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let place = self.places.clone().acquire_owned().await.map_err(io::Error::other)?;
        let name = name.to_string();
        let lookup = move || {
            let _place = place;
            let found = (name.as_str(), 0).to_socket_addrs()?;
            Ok(found.map(|address| address.ip().to_canonical()).collect())
        };
        tokio::task::spawn_blocking(lookup).await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_machine_knows_itself() {
        let system = System::new(1);
        let found = system.resolve("localhost").await.unwrap();
        assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
        assert!(system.resolve("no-such-name.invalid").await.is_err());
    }
}

//! The asynchronous front, over tokio: writes that come while others are being committed are the next group.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::{Batch, Error, Options, Store, single};

/// A [`Store`] whose calls are futures. A write whose future is dropped may be committed nonetheless.
#[derive(Clone)]
pub struct AsyncStore(Store);

impl AsyncStore {
    pub fn new(store: Store) -> Self {
        Self(store)
    }

    pub async fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let dir = dir.as_ref().to_owned();
        blocking(move || Store::open(dir, options)).await.map(Self)
    }

    pub async fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.write(single(key, Some(value))).await
    }

    pub async fn delete(&self, key: &[u8]) -> Result<(), Error> {
        self.write(single(key, None)).await
    }

    pub async fn write(&self, batch: Batch) -> Result<(), Error> {
        let (must_lead, told) = self.0.0.core.queue(batch)?;
        if must_lead {
            // Also if the runtime ends before it comes to that: others may have joined the group.
            let leader = scopeguard::guard(Arc::clone(&self.0.0.core), |core| core.lead());
            spawn_blocking(move || drop(leader));
        }
        told.await.unwrap_or(Err(Error::Closed))
    }

    pub async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let (snapshot, key) = (self.0.snapshot()?, key.to_vec());
        blocking(move || snapshot.get(&key)).await
    }

    /// The blocking interface of the same store.
    pub fn store(&self) -> &Store {
        &self.0
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

//! The asynchronous front, over tokio: writes that come while others are being committed are the next group.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use tokio::task::spawn_blocking;

use super::core::Core;
use super::snapshot::value;
use super::{Batch, Error, Options, Store};

/// A [`Store`] whose calls are futures. A write whose future is dropped may be committed nonetheless.
#[derive(Clone)]
pub struct AsyncStore(Store);

/// Commits what is queued, also if the runtime ends before it comes to that.
struct Leader(Arc<Core>);

impl Drop for Leader {
    fn drop(&mut self) {
        self.0.lead();
    }
}

impl AsyncStore {
    pub fn new(store: Store) -> Self {
        Self(store)
    }

    pub async fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let dir = dir.as_ref().to_owned();
        blocking(move || Store::open(dir, options)).await.map(Self)
    }

    pub async fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let mut batch = Batch::new();
        batch.put(key, value);
        self.write(batch).await
    }

    pub async fn delete(&self, key: &[u8]) -> Result<(), Error> {
        let mut batch = Batch::new();
        batch.delete(key);
        self.write(batch).await
    }

    pub async fn write(&self, batch: Batch) -> Result<(), Error> {
        let core = &self.0.0.core;
        let told = core.queue(batch)?;
        if !core.is_led.swap(true, SeqCst) {
            let leader = Leader(Arc::clone(core));
            spawn_blocking(move || drop(leader));
        }
        told.await.unwrap_or(Err(Error::Closed))
    }

    /// At once if it is in memory; on another thread if the disk has to be asked.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let snapshot = self.0.snapshot()?;
        if let Some(entry) = snapshot.memory.entry(key) {
            return Ok(value(&entry));
        }
        let key = key.to_vec();
        blocking(move || snapshot.get(&key)).await
    }

    /// The blocking interface of the same store.
    pub fn store(&self) -> &Store {
        &self.0
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let panicked = |error| Error::io(Path::new("task"))(io::Error::other(error));
    spawn_blocking(work).await.map_err(panicked)?
}

//! Background threads that flush.

use std::boxed::Box;
use std::cell::Cell;
use std::error::Error;
use std::format;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use std::vec::Vec;

use super::{FlushJob, MemtableManager, Shared, order};
use crate::caught::caught;
use crate::clock::{EpochClock, SeqClock};
use crate::comparator::{Bytewise, Comparator};
use crate::list::Key;

/// Brings a frozen table to safety: writes it to a file, sends it elsewhere.
///
/// Called by background threads, several of them at once if there are several, each with another table. When it returns `Ok`
/// the table is completed, so what was in it must be readable elsewhere by then. An error or a panic gives the table back;
/// it is tried again after a while.
///
/// A flush on a background thread never waits for a flush, since that may be itself. If it writes to its own manager above a hard
/// limit, the write is [`Stalled`](crate::WriteError::Stalled) at once (and a flush that fails for that is tried again, and is
/// refused again); if it calls [`shutdown`](MemtableManager::shutdown), that hands back at once what no flush is under way of.
/// On threads of your own, from [`next_flush`](MemtableManager::next_flush) to [`complete`](FlushJob::complete), both wait in
/// vain for as long as they are told to.
///
/// A closure is one.
///
/// ```
/// use std::error::Error;
/// use std::sync::Arc;
/// use std::time::Duration;
/// use memskip::{Flush, FlushJob, ManagerConfig, MemtableManager};
///
/// struct Discard;
///
/// impl Flush for Discard {
///     fn flush(&self, job: &FlushJob) -> Result<(), Box<dyn Error + Send + Sync>> {
///         if job.attempt() == 1 { Err("try again".into()) } else { Ok(()) }
///     }
/// }
///
/// let manager = MemtableManager::new(ManagerConfig::new())?;
/// manager.start_flushers(1, Discard)?;
/// manager.put(b"k", b"v")?;
/// let left = manager.shutdown(Duration::from_secs(10));
/// assert!(left.is_empty());
/// assert_eq!((manager.stats().flushes, manager.stats().failed_flushes), (1, 1));
/// # Ok::<(), Box<dyn Error>>(())
/// ```
pub trait Flush<K: Key + ?Sized = [u8], C: Comparator<K> = Bytewise, S: SeqClock = EpochClock> {
    /// Flushes a table.
    fn flush(&self, job: &FlushJob<K, C, S>) -> Result<(), Box<dyn Error + Send + Sync>>;
}

impl<K, C, S, F> Flush<K, C, S> for F
where
    K: Key + ?Sized,
    C: Comparator<K>,
    S: SeqClock,
    F: Fn(&FlushJob<K, C, S>) -> Result<(), Box<dyn Error + Send + Sync>>,
{
    fn flush(&self, job: &FlushJob<K, C, S>) -> Result<(), Box<dyn Error + Send + Sync>> {
        self(job)
    }
}

std::thread_local! {
    /// Where the manager lies that this thread flushes for; 0 if it does not.
    static FLUSHES_FOR: Cell<usize> = const { Cell::new(0) };
}

/// A delay is doubled this many times at most.
const MAX_DOUBLINGS: u32 = 6;

impl<K, C, S> MemtableManager<K, C, S>
where
    K: Key + ?Sized + 'static,
    C: Comparator<K> + Send + Sync + 'static,
    S: SeqClock + Send + Sync + 'static,
{
    /// Starts `threads` background threads that flush until the manager is shut down or dropped. An error if the system refuses
    /// one; those already started go on. A panic on one of them, of the flush, of the comparator or of the clock, is a failure,
    /// after which it waits as it does after others.
    pub fn start_flushers(
        &self,
        threads: usize,
        flush: impl Flush<K, C, S> + Send + Sync + 'static,
    ) -> std::io::Result<()> {
        let flush = Arc::new(flush);
        for number in 0..threads {
            let (shared, flush) = (Arc::clone(&self.shared), Arc::clone(&flush));
            let thread = std::thread::Builder::new().name(format!("memskip-flush-{number}"));
            let handle = thread.spawn(move || shared.flush_until_stopped(&*flush))?;
            self.flushers.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
        }
        Ok(())
    }
}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> Shared<K, C, S> {
    /// Whether this is one of the manager's background threads: then nothing may wait for a flush here.
    pub(super) fn is_own_flusher(&self) -> bool {
        FLUSHES_FOR.get() == core::ptr::from_ref(self).addr()
    }

    fn flush_until_stopped(self: &Arc<Self>, flush: &impl Flush<K, C, S>) {
        // It lies there as long as the thread runs, which has a share.
        FLUSHES_FOR.set(Arc::as_ptr(self).addr());
        while !self.stopped.load(order::STOP) {
            // Not only the flush is the caller's code: a rotation by age clones the comparator, it and the look at what was
            // rotated out ask the clock, and a table that is done with drops both.
            match caught(|| self.flush_next(flush)) {
                Some(None) => return,
                Some(Some(pause)) => self.pause(pause),
                None => self.pause(self.config.flush_retry),
            }
        }
    }

    /// Waits for a table, flushes it, and says how long to wait before the next; `None` when flushers are stopped.
    fn flush_next(self: &Arc<Self>, flush: &impl Flush<K, C, S>) -> Option<Duration> {
        let job = self.wait_for_job(None)?;
        let attempt = job.attempt();
        // An error is dropped where a panic of its drop is caught.
        if caught(|| flush.flush(&job).is_ok()) == Some(true) {
            // It can have been completed or failed by id meanwhile.
            let _ = job.complete();
            return Some(Duration::ZERO);
        }
        let _ = job.fail();
        Some(self.config.flush_retry.saturating_mul(1 << attempt.saturating_sub(1).min(MAX_DOUBLINGS)))
    }

    /// Sleeps, or until told to stop.
    fn pause(&self, time: Duration) {
        let Some(until) = Instant::now().checked_add(time) else { return };
        let mut state = self.lock();
        while !self.stopped.load(order::STOP) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.stop.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<K: ?Sized, C, S> MemtableManager<K, C, S> {
    /// Stops the background threads and waits for them.
    pub(super) fn stop_flushers(&self) {
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.stopped.store(true, order::STOP);
        drop(state);
        self.shared.stop.notify_all();
        self.shared.work.notify_all();
        let handles = core::mem::take(&mut *self.flushers.lock().unwrap_or_else(PoisonError::into_inner));
        let others: Vec<_> =
            handles.into_iter().filter(|handle| handle.thread().id() != std::thread::current().id()).collect();
        for handle in others {
            // It catches panics of the flush; but when it ends it drops it.
            caught(|| drop(handle.join()));
        }
    }
}

use crate::{Code, Error, Result};
use std::cell::UnsafeCell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long an idle worker watches for the next job before it sleeps: longer than the gap between two kernels, too short to be
/// seen in a process that does nothing.
const WATCH: Duration = Duration::from_micros(40);

/// Set in `Shared::state` while a job takes helpers; below it, how many are at work; above it, the number of the job.
const OPEN: u64 = 1 << 31;
const HELPERS: u64 = OPEN - 1;
const NUMBER: u64 = OPEN << 1;

type Task = *const (dyn Fn(usize) + Sync);

struct Shared {
    state: AtomicU64,
    /// what the open job does and how often; written only while no job is open and no helper at work
    job: UnsafeCell<Option<(Task, usize)>>,
    next: AtomicUsize,
    panicked: AtomicBool,
    stop: AtomicBool,
    asleep: Mutex<usize>,
    wake: Condvar,
}

// SAFETY: `job` is written by the one submitter before it opens the job (Release) and read by helpers after they joined it
// (Acquire); the submitter changes it only after every helper has left. The task itself is Sync.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// A few threads that share the work of one call at a time. The caller is one of them; idle ones sleep.
pub struct Pool {
    shared: Arc<Shared>,
    submit: Mutex<()>,
    workers: Vec<JoinHandle<()>>,
}

impl Pool {
    /// A pool of `threads` threads (1 to 1024), the caller of each call among them.
    pub fn new(threads: usize) -> Result<Pool> {
        if threads == 0 || threads > 1024 {
            return Err(Error::bad(format!("Cannot make a pool of {threads} threads: it takes 1 to 1024")));
        }
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            next: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            asleep: Mutex::new(0),
            wake: Condvar::new(),
        });
        let mut pool = Pool {
            shared,
            submit: Mutex::new(()),
            workers: Vec::new(),
        };
        for number in 1..threads {
            let shared = pool.shared.clone();
            let worker = std::thread::Builder::new()
                .name(format!("masset-kernel-{number}"))
                .spawn(move || shared.work());
            pool.workers
                .push(worker.map_err(|e| Error::new(Code::Engine, format!("Cannot start a kernel thread: {e}")))?);
        }
        Ok(pool)
    }

    /// How many threads share a call, the caller's among them.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `task(0)` … `task(count - 1)`, each once, in any order and on any of the threads; returns when all are done.
    /// A panic in one of them becomes an error with code Engine after the others are done. While another thread uses the pool,
    /// or from within a task, the caller does all the work itself.
    pub fn run(&self, count: usize, task: &(dyn Fn(usize) + Sync)) -> Result<()> {
        let turn = if self.workers.is_empty() || count < 2 {
            None
        } else {
            self.submit.try_lock().ok()
        };
        let panicked = match turn {
            Some(_turn) => self.share(count, task),
            // not short-circuiting: every index is called even if one panics
            None => (0..count).fold(false, |bad, index| catch_unwind(AssertUnwindSafe(|| task(index))).is_err() | bad),
        };
        if panicked {
            return Err(Error::new(Code::Engine, "Cannot finish a kernel: a part of it panicked"));
        }
        Ok(())
    }

    fn share(&self, count: usize, task: &(dyn Fn(usize) + Sync)) -> bool {
        let shared = &*self.shared;
        // SAFETY: only the lifetime is changed; `share` does not return before every helper has left the job.
        let task: Task = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), Task>(task) };
        // SAFETY: no job is open and no helper at work (the last `share` waited for that), and `submit` is held.
        unsafe { *shared.job.get() = Some((task, count)) };
        shared.next.store(0, Relaxed);
        shared.panicked.store(false, Relaxed);
        let number = (shared.state.load(Relaxed) & !(OPEN | HELPERS)).wrapping_add(NUMBER);
        shared.state.store(number | OPEN, Release);
        // whoever counts itself asleep after this lock sees the new job before it sleeps
        if *shared.asleep.lock().unwrap_or_else(PoisonError::into_inner) > 0 {
            shared.wake.notify_all();
        }
        shared.take(task, count);
        shared.state.fetch_and(!OPEN, AcqRel);
        let mut looks = 0u32;
        while shared.state.load(Acquire) & HELPERS != 0 {
            looks += 1;
            if looks.is_multiple_of(1024) {
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
        shared.panicked.load(Relaxed)
    }
}

impl Shared {
    /// Claims indices until none is left.
    fn take(&self, task: Task, count: usize) {
        loop {
            let index = self.next.fetch_add(1, Relaxed);
            if index >= count {
                return;
            }
            // SAFETY: the submitter keeps the task alive until all helpers have left.
            if catch_unwind(AssertUnwindSafe(|| unsafe { (*task)(index) })).is_err() {
                self.panicked.store(true, Relaxed);
            }
        }
    }

    fn work(&self) {
        let mut seen = 0;
        loop {
            let state = self.wait(seen);
            if self.stop.load(Acquire) {
                return;
            }
            let number = state & !(OPEN | HELPERS);
            if state & OPEN == 0 {
                seen = number;
                continue;
            }
            // joins only while the job is open, so a late waker never holds up a job that is done
            if self.state.compare_exchange(state, state + 1, AcqRel, Relaxed).is_err() {
                continue;
            }
            seen = number;
            // SAFETY: this helper has joined, so the submitter leaves the job alone until it has left.
            if let Some((task, count)) = unsafe { *self.job.get() } {
                self.take(task, count);
            }
            self.state.fetch_sub(1, AcqRel);
        }
    }

    /// Returns the state once it is of another job than `seen`, or the pool stops.
    fn wait(&self, seen: u64) -> u64 {
        let news = || {
            let state = self.state.load(Acquire);
            (state & !(OPEN | HELPERS) != seen || self.stop.load(Acquire)).then_some(state)
        };
        let start = Instant::now();
        while start.elapsed() < WATCH {
            for _ in 0..64 {
                if let Some(state) = news() {
                    return state;
                }
                std::hint::spin_loop();
            }
        }
        let mut asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        *asleep += 1;
        loop {
            if let Some(state) = news() {
                *asleep -= 1;
                return state;
            }
            asleep = self.wake.wait(asleep).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        drop(self.shared.asleep.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

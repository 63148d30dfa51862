use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use masset_core::model::Session;
use masset_core::{Error, Result};
use napi_derive::napi;

/// The caches of one sequence.
#[napi]
pub struct NativeSession(pub(crate) Arc<Mutex<Place>>);

/// Where a session's caches are.
pub(crate) enum Place {
    Here(Session),
    /// with a pass, which takes them back unless they are freed meanwhile
    Away,
    Freed,
}

impl Place {
    fn here(&self) -> Option<&Session> {
        match self {
            Place::Here(session) => Some(session),
            _ => None,
        }
    }

    pub(crate) fn take(&mut self) -> Result<Session> {
        match std::mem::replace(self, Place::Away) {
            Place::Here(session) => Ok(session),
            other => {
                *self = other;
                Err(Error::bad("Cannot use a session: it was freed, or is in use"))
            }
        }
    }

    pub(crate) fn give_back(&mut self, session: Session) {
        if matches!(self, Place::Away) {
            *self = Place::Here(session);
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[napi]
impl NativeSession {
    /// Bytes that its caches take.
    #[napi(getter)]
    pub fn bytes(&self) -> f64 {
        lock(&self.0).here().map_or(0, Session::bytes) as f64
    }

    /// Positions in its caches.
    #[napi(getter)]
    pub fn length(&self) -> u32 {
        lock(&self.0).here().map_or(0, Session::len) as u32
    }

    /// Forgets what came after the first `length` positions: of a pass that failed between two segments.
    #[napi]
    pub fn truncate(&self, length: u32) {
        if let Place::Here(session) = &mut *lock(&self.0) {
            session.truncate(length as usize);
        }
    }

    /// Frees the caches; it can't be used again.
    #[napi]
    pub fn free(&self) {
        *lock(&self.0) = Place::Freed;
    }
}

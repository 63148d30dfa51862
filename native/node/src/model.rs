use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use masset_core::kernels::{Isa, Machine, Precision};
use masset_core::model::{self, Model, ModelStats, Spec};
use masset_core::program::Value;
use masset_core::reading;
use masset_core::trace::Taken;
use masset_core::{Code, Error, Result};
use napi::bindgen_prelude::{AsyncTask, Float32Array, Float64Array, Uint32Array, Uint8Array};
use napi::{Env, Task};
use napi_derive::napi;

use crate::arrivals::Arrivals;
use crate::convert::{guarded, named, thrown, value_of, NamedTensor};
use crate::session::{lock, NativeSession, Place};

/// A wish to stop, for one call or several.
#[napi]
#[derive(Default)]
pub struct Abort(Arc<AtomicBool>);

#[napi]
impl Abort {
    #[napi(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks all calls that were given this to stop.
    #[napi]
    pub fn fire(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// For which positions a pass computes the output head: all, the last of each sequence, or none.
#[napi(string_enum = "lowercase")]
pub enum Logits {
    All,
    Last,
    None,
}

impl From<Logits> for model::Logits {
    fn from(logits: Logits) -> Self {
        match logits {
            Logits::All => Self::All,
            Logits::Last => Self::Last,
            Logits::None => Self::None,
        }
    }
}

/// A model, ready to run. Closing lets go of it: JavaScript's own garbage may keep this object for long.
#[napi]
pub struct NativeModel(Mutex<Held>);

enum Held {
    Open(Arc<Model>),
    Closed(ModelStats),
}

impl NativeModel {
    fn open(&self) -> Result<Arc<Model>> {
        match &*lock(&self.0) {
            Held::Open(model) => Ok(model.clone()),
            Held::Closed(_) => Err(Error::new(Code::Aborted, "Cannot run the model: it was closed")),
        }
    }
}

/// Counters since the model was opened; bytes and milliseconds.
#[napi(object)]
pub struct NativeStats {
    pub bytes_read: f64,
    pub disk_bytes: f64,
    pub hits: f64,
    pub waits: f64,
    pub waited_ms: f64,
    pub disk_idle_ms: f64,
    pub expert_bytes: f64,
    pub expert_bytes_read: f64,
    pub cached_bytes: f64,
}

/// Columns of events; lanes by their numbers in masset_core::trace::Lane, times on the clock of `clock_ms`.
#[napi(object)]
pub struct NativeEvents {
    pub lanes: Uint8Array,
    pub what: Uint32Array,
    pub began_ms: Float64Array,
    pub took_ms: Float64Array,
    pub bytes: Float64Array,
    /// events that were not kept, since there were too many
    pub left_out: f64,
}

#[napi]
impl NativeModel {
    /// Whether prompts are rounded: that was asked for, and changes anything with these weights on this machine.
    #[napi(getter)]
    pub fn fast(&self) -> bool {
        self.open().is_ok_and(|model| model.precision() == Precision::Fast)
    }

    /// The caches of one sequence, empty.
    #[napi]
    pub fn session(&self) -> napi::Result<NativeSession> {
        let session = guarded(|| self.open()?.session())?;
        Ok(NativeSession(Arc::new(Mutex::new(Place::Here(session)))))
    }

    /// One segment of a pass over a batch, one session for each sequence of it; without sessions the caches are inputs and outputs.
    /// The first output of floats that is as long as `into` is written there and given out as it, instead of in memory of its own.
    #[napi(ts_return_type = "Promise<NamedTensor[]>")]
    pub fn run(
        &self,
        segment: u32,
        inputs: Vec<NamedTensor>,
        sessions: Vec<&NativeSession>,
        logits: Logits,
        abort: &Abort,
        into: Option<Float32Array>,
    ) -> napi::Result<AsyncTask<Run>> {
        let values = inputs.into_iter().map(|tensor| Ok((value_of(&tensor)?, tensor.name)));
        let inputs = values
            .map(|pair: Result<_>| pair.map(|(value, name)| (name, value)))
            .collect::<Result<_>>()
            .map_err(thrown)?;
        let sessions = sessions.iter().map(|session| session.0.clone()).collect();
        Ok(AsyncTask::new(Run {
            model: self.open().map_err(thrown)?,
            segment: segment as usize,
            inputs,
            sessions,
            logits: logits.into(),
            abort: abort.0.clone(),
            into,
        }))
    }

    /// Whether a matrix that is cached is in memory.
    #[napi]
    pub fn has_cached(&self, weight: u32) -> bool {
        self.open().is_ok_and(|model| model.has_cached(weight as usize))
    }

    #[napi]
    pub fn stats(&self) -> NativeStats {
        let stats = match &*lock(&self.0) {
            Held::Open(model) => model.stats(),
            Held::Closed(stats) => *stats,
        };
        NativeStats {
            bytes_read: stats.bytes_read as f64,
            disk_bytes: stats.disk_bytes as f64,
            hits: stats.hits as f64,
            waits: stats.waits as f64,
            waited_ms: stats.waited as f64 / 1e6,
            disk_idle_ms: stats.disk_idle as f64 / 1e6,
            expert_bytes: stats.expert_bytes as f64,
            expert_bytes_read: stats.expert_read as f64,
            cached_bytes: stats.cached as f64,
        }
    }

    /// What was recorded since it was taken before: columns of events in the order in which they ended.
    #[napi]
    pub fn take_events(&self) -> NativeEvents {
        let Taken { events, left_out } = self.open().map(|model| model.take_events()).unwrap_or_default();
        NativeEvents {
            lanes: events.iter().map(|event| event.lane as u8).collect::<Vec<_>>().into(),
            what: events.iter().map(|event| event.what as u32).collect::<Vec<_>>().into(),
            began_ms: events.iter().map(|event| milliseconds(event.began)).collect::<Vec<_>>().into(),
            took_ms: events.iter().map(|event| milliseconds(event.took)).collect::<Vec<_>>().into(),
            bytes: events.iter().map(|event| event.bytes as f64).collect::<Vec<_>>().into(),
            left_out: left_out as f64,
        }
    }

    /// Ends reading; a pass that is under way fails. Memory and files go at once, or with the pass that still uses them.
    #[napi]
    pub fn close(&self) {
        let mut held = lock(&self.0);
        if let Held::Open(model) = &*held {
            model.close();
            *held = Held::Closed(model.stats());
        }
    }
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Threads and instruction set of all models that are opened with it.
#[napi]
pub struct NativeMachine(Arc<Machine>);

#[napi]
impl NativeMachine {
    #[napi(constructor)]
    pub fn new(threads: u32, instruction_set: Option<String>) -> napi::Result<Self> {
        guarded(|| {
            let isa = match instruction_set {
                None => Isa::detect(),
                Some(name) => {
                    let found = Isa::ALL.into_iter().find(|isa| isa.as_str() == name);
                    found.ok_or_else(|| Error::bad(format!("Cannot use the instruction set {name}: it is not known")))?
                }
            };
            Ok(Self(Arc::new(Machine::new(isa, threads as usize)?)))
        })
    }

    /// Opens a model: `plan` is the JSON of masset_core::model::Spec, `sums` the checksums of all pages of its files
    /// that are there. Given `arrivals`, it opens and runs while its files arrive.
    #[napi(ts_return_type = "Promise<NativeModel>")]
    pub fn open(&self, plan: String, sums: Uint32Array, abort: &Abort, arrivals: Option<&Arrivals>) -> AsyncTask<Open> {
        AsyncTask::new(Open {
            machine: self.0.clone(),
            plan,
            sums: sums.to_vec(),
            abort: abort.0.clone(),
            arrivals: arrivals.map(|arrivals| arrivals.0.clone()),
        })
    }
}

pub struct Open {
    machine: Arc<Machine>,
    plan: String,
    sums: Vec<u32>,
    abort: Arc<AtomicBool>,
    arrivals: Option<Arc<reading::Arrivals>>,
}

impl Task for Open {
    type Output = Model;
    type JsValue = NativeModel;

    fn compute(&mut self) -> napi::Result<Model> {
        let sums = std::mem::take(&mut self.sums);
        let machine = self.machine.clone();
        guarded(|| {
            let spec = Spec::from_json(&self.plan)?;
            match self.arrivals.take() {
                None => Model::open(spec, sums, machine, &self.abort),
                Some(arrivals) => Model::open_arriving(spec, sums, machine, &self.abort, arrivals),
            }
        })
    }

    fn resolve(&mut self, _: Env, model: Model) -> napi::Result<NativeModel> {
        Ok(NativeModel(Mutex::new(Held::Open(Arc::new(model)))))
    }
}

pub struct Run {
    model: Arc<Model>,
    segment: usize,
    inputs: std::collections::HashMap<String, Value>,
    sessions: Vec<Arc<Mutex<Place>>>,
    logits: model::Logits,
    abort: Arc<AtomicBool>,
    into: Option<Float32Array>,
}

impl Run {
    fn pass(&self) -> Result<Vec<(String, Value)>> {
        if self.sessions.is_empty() {
            return self.model.run_whole(self.segment, &self.inputs, self.logits, &self.abort);
        }
        let mut taken = Vec::with_capacity(self.sessions.len());
        let outcome = self.sessions.iter().try_for_each(|place| {
            taken.push(lock(place).take()?);
            Ok(())
        });
        let outcome = outcome.and_then(|()| self.model.run(self.segment, &self.inputs, &mut taken, self.logits, &self.abort));
        for (place, session) in self.sessions.iter().zip(taken) {
            lock(place).give_back(session);
        }
        outcome
    }
}

impl Task for Run {
    type Output = Vec<(String, Value)>;
    type JsValue = Vec<NamedTensor>;

    fn compute(&mut self) -> napi::Result<Self::Output> {
        guarded(|| self.pass())
    }

    fn resolve(&mut self, _: Env, outputs: Self::Output) -> napi::Result<Self::JsValue> {
        outputs
            .into_iter()
            .map(|(name, value)| named(name, value, &mut self.into))
            .collect()
    }
}

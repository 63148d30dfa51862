use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use super::cache::Cache;
use super::filling::{pins, scales_apart};
use super::held::Held;
use super::leases::Leases;
use super::matrix::Matrix;
use super::spec::{Spec, Stored};
use crate::kernels::{self, Machine, Precision, Tile};
use crate::program::{elements, Op, Tensor};
use crate::reading::{Arrivals, Disk, FileSpec, Read, Reader, Region, Stream, DEFAULT_OPEN_FILES, DEFAULT_THREADS, PAGE};
use crate::trace::{Recorder, MOST_EVENTS};
use crate::{Error, Result};

/// The weights of one model: small ones and pinned tiles in memory, the others streamed in the order of the pass.
pub struct Weights {
    pub(super) reader: Arc<Reader>,
    pub(super) precision: Precision,
    firsts: Vec<usize>,
    pub vectors: Vec<Tensor<f32>>,
    matrices: Vec<Held>,
    stream: Option<Stream>,
    pub(super) cache: Cache,
    /// for each node of each segment
    places: Vec<Vec<Place>>,
    pub(super) leases: Mutex<Leases>,
    /// where it is to be seen what happens
    pub(super) recorder: Option<Arc<Recorder>>,
}

/// Where a node is.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// its number, counted over all segments
    pub node: usize,
    /// in the stream, the first tile that it needs
    pub tile: usize,
}

impl Weights {
    /// Reads what stays in memory from `disk`, and begins to stream the rest; with `arrivals`, of the former only vectors are read.
    ///
    /// # Errors
    /// `BadInput` for a plan that cannot be, `Io`, `Corrupt`, `Aborted`.
    pub fn open(
        spec: &Spec,
        sums: Vec<u32>,
        machine: &Machine,
        abort: &AtomicBool,
        arrivals: Option<Arc<Arrivals>>,
        disk: Box<dyn Disk>,
    ) -> Result<Self> {
        let early = arrivals.is_some();
        let files = spec.files.iter().map(|file| FileSpec {
            path: file.path.clone().into(),
            size: file.size,
            linked: file.linked,
        });
        let recorder = spec.trace.then(|| Arc::new(Recorder::new(MOST_EVENTS)));
        let reader = Reader::on(files.collect(), Some(sums), DEFAULT_OPEN_FILES, disk)?;
        let reader = Arc::new(reader.recorded(recorder.clone()).arriving(arrivals)?);
        let mut weights = Self {
            firsts: spec.files.iter().map(|file| file.first_sum).collect(),
            vectors: Vec::with_capacity(spec.vectors.len()),
            matrices: Vec::with_capacity(spec.weights.len()),
            stream: None,
            cache: Cache::new(spec.cache),
            places: Vec::with_capacity(spec.segments.len()),
            leases: Mutex::default(),
            recorder,
            precision: spec.precision,
            reader,
        };
        for stored in &spec.vectors {
            let vector = weights.vector(machine, stored, abort)?;
            weights.vectors.push(vector);
        }
        let mut maps = HashMap::new();
        for weight in &spec.weights {
            let matrix = Matrix::new(weight)?;
            let tiles = match spec.map {
                true => weights.map(weight, &mut maps)?,
                false => pins(&matrix, weight, spec)?,
            };
            let scales = scales_apart(&matrix, spec)?;
            let held = Held { matrix, tiles, scales };
            if !early {
                weights.fill_tiles(&held, 0..held.matrix.pins.len(), abort)?;
                weights.fill_scales(&held, abort)?;
            }
            weights.matrices.push(held);
        }
        weights.start(spec)?;
        Ok(weights)
    }

    /// Where the checksums of a file begin.
    pub(super) fn first(&self, file: usize) -> Result<usize> {
        let first = self.firsts.get(file).copied();
        first.ok_or_else(|| Error::bad(format!("Cannot read file {file}: there is none")))
    }

    pub(super) fn read(&self, stored: &Stored, skip: usize, length: usize) -> Result<Read> {
        let first = self.first(stored.file)?;
        let offset = stored
            .offset
            .checked_add(skip as u64)
            .ok_or_else(|| Error::bad("Cannot read beyond 2^64"))?;
        let page = usize::try_from(offset / PAGE as u64).ok().and_then(|page| first.checked_add(page));
        let first_sum = page.ok_or_else(|| Error::bad("Cannot read beyond the checksums"))?;
        Ok(Read {
            file: stored.file,
            offset,
            length,
            first_sum,
        })
    }

    fn vector(&self, machine: &Machine, stored: &Stored, abort: &AtomicBool) -> Result<Tensor<f32>> {
        let count = elements(&stored.dims)?;
        let mut data = vec![0.0; count];
        if count > 0 {
            let length = stored
                .dtype
                .encoding()
                .row_bytes(count)
                .ok_or_else(|| Error::bad("Cannot read a vector of so many elements"))?;
            let mut bytes = vec![0; length];
            self.reader
                .read_now(&[self.read(stored, 0, length)?], &mut [&mut bytes], Some(abort))?;
            self.count(|leases| leases.bytes += length as u64);
            let tile = Tile::new(stored.dtype.encoding(), (1, count), &bytes, None, None)?;
            kernels::gather(machine, &tile, &[0], &mut data)?;
        }
        Tensor::new(stored.dims.clone(), data)
    }

    /// The reads for some rows of a matrix: of its weights, and of the scales that are with them.
    pub(super) fn read_rows(&self, matrix: &Matrix, rows: &Range<usize>) -> Result<Vec<Read>> {
        let run = |stored, size| self.read(stored, rows.start * size, rows.len() * size);
        let mut reads = vec![run(&matrix.stored, matrix.row_bytes)?];
        if let Some(scales) = matrix.scales.as_ref().filter(|scales| !scales.apart) {
            reads.push(run(&scales.stored, scales.row_bytes)?);
        }
        Ok(reads)
    }

    /// Lists the streamed tiles in the order in which the nodes of a pass need them.
    fn start(&mut self, spec: &Spec) -> Result<()> {
        let mut reads = Vec::new();
        let mut number = 0;
        for segment in &spec.segments {
            let mut places = Vec::with_capacity(segment.nodes.len());
            for node in &segment.nodes {
                places.push(Place {
                    node: number,
                    tile: reads.len(),
                });
                number += 1;
                let (Op::Linear { weight } | Op::Conv1d { weight }) = node.run else {
                    continue;
                };
                let matrix = &self.matrix(weight)?.matrix;
                if matrix.tiles.is_empty() {
                    return Err(Error::bad(format!("Cannot multiply by weight {weight}: it has no tiles")));
                }
                if matrix.cached {
                    continue;
                }
                for tile in matrix.tiles.iter().filter(|tile| tile.pinned.is_none()) {
                    reads.push(self.read_rows(matrix, &tile.rows)?);
                }
            }
            self.places.push(places);
        }
        if !reads.is_empty() {
            let region = Region::new(Stream::group_bytes(&self.reader, &reads)?, spec.slots)?;
            self.stream = Some(Stream::open_groups(
                self.reader.clone(),
                &reads,
                region,
                DEFAULT_THREADS.min(spec.slots),
            )?);
        }
        Ok(())
    }

    pub(super) fn matrix(&self, weight: usize) -> Result<&Held> {
        self.matrices
            .get(weight)
            .ok_or_else(|| Error::bad(format!("Cannot use weight {weight}: there are {}", self.matrices.len())))
    }

    /// The stream, where anything is streamed.
    pub fn stream(&self) -> Option<&Stream> {
        self.stream.as_ref()
    }

    /// What was read at once: pinned tiles and single rows.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// True for a weight that is read only when rows are multiplied by it.
    pub fn is_cached(&self, weight: usize) -> Result<bool> {
        self.matrix(weight).map(|held| held.matrix.cached)
    }

    /// (outputs, inputs) of a weight as it is stored.
    pub fn shape(&self, weight: usize) -> Result<(usize, usize)> {
        self.matrix(weight).map(|Held { matrix, .. }| (matrix.rows, matrix.inputs))
    }

    /// Where the nodes of a segment are.
    pub fn places(&self, segment: usize) -> &[Place] {
        self.places.get(segment).map_or(&[], Vec::as_slice)
    }
}

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::matrix::{Matrix, RowBytes};
use super::pinned::{Key, Pinned};
use super::spec::{Spec, Stored, Weight};
use crate::kernels::{self, Machine, Precision, Tile};
use crate::program::{elements, Op, Tensor};
use crate::reading::{FileSpec, Lease, Read, Reader, Region, Stream, Wait, DEFAULT_THREADS, PAGE};
use crate::{Code, Error, Result};

/// A wait below this was none: it is what asking costs.
const HIT: Duration = Duration::from_micros(50);

/// The weights of one model: small ones and pinned tiles in memory, the others streamed in the order of the pass.
pub struct Weights {
    pub(super) reader: Arc<Reader>,
    pub(super) precision: Precision,
    firsts: Vec<usize>,
    pub vectors: Vec<Tensor<f32>>,
    matrices: Vec<(Matrix, Arc<Pinned>)>,
    stream: Option<Stream>,
    /// for each node, the place in the stream of the first tile that it needs
    places: Vec<usize>,
    leases: Mutex<Leases>,
}

/// What was taken of weights, and how that went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Leases {
    /// tensor bytes read for it
    pub bytes: u64,
    /// streamed tiles that were there
    pub hits: u64,
    /// streamed tiles that were waited for
    pub waits: u64,
    /// nanoseconds waited
    pub waited: u64,
}

impl Weights {
    /// Reads what stays in memory, and begins to stream the rest.
    ///
    /// # Errors
    /// `BadInput` for a plan that cannot be, `Io`, `Corrupt`, `Aborted`.
    pub fn open(spec: &Spec, sums: Vec<u32>, machine: &Machine, abort: &AtomicBool) -> Result<Self> {
        let files = spec.files.iter().map(|file| FileSpec {
            path: file.path.clone().into(),
            size: file.size,
        });
        let reader = Arc::new(Reader::new(files.collect(), Some(sums))?);
        let mut weights = Self {
            firsts: spec.files.iter().map(|file| file.first_sum).collect(),
            vectors: Vec::with_capacity(spec.vectors.len()),
            matrices: Vec::with_capacity(spec.weights.len()),
            stream: None,
            places: Vec::with_capacity(spec.nodes.len()),
            leases: Mutex::default(),
            precision: spec.precision,
            reader,
        };
        for stored in &spec.vectors {
            let vector = weights.vector(machine, stored, abort)?;
            weights.vectors.push(vector);
        }
        for weight in &spec.weights {
            let matrix = Matrix::new(weight)?;
            let held = weights.pin(&matrix, weight, spec, abort)?;
            weights.matrices.push((matrix, held));
        }
        weights.start(spec)?;
        Ok(weights)
    }

    pub(super) fn read(&self, stored: &Stored, skip: usize, length: usize) -> Result<Read> {
        let first = self
            .firsts
            .get(stored.file)
            .ok_or_else(|| Error::bad(format!("Cannot read file {}: there is none", stored.file)))?;
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

    /// The pinned tiles of a matrix, read unless another model holds them.
    fn pin(&self, matrix: &Matrix, weight: &Weight, spec: &Spec, abort: &AtomicBool) -> Result<Arc<Pinned>> {
        let content = |stored: &Stored| {
            let file = spec.files.get(stored.file).map(|file| file.key.clone());
            file.ok_or_else(|| Error::bad(format!("Cannot read file {}: there is none", stored.file)))
        };
        let place = |stored: &Stored| Ok((content(stored)?, stored.offset));
        let scales: Option<Result<_>> = weight.scales.as_ref().map(place);
        let key = Key {
            content: content(&weight.stored)?,
            offset: weight.stored.offset,
            row_bytes: matrix.row_bytes,
            scales: scales.transpose()?,
            tiles: weight.tiles.clone(),
        };
        let ranges = || matrix.tiles.iter().filter_map(|tile| tile.pinned.clone());
        Pinned::find(&key, ranges().next_back().map_or(0, |range| range.end), |bytes| {
            let (mut rest, mut at) = (bytes, 0);
            let (mut reads, mut places) = (Vec::new(), Vec::new());
            for tile in &matrix.tiles {
                let Some(range) = &tile.pinned else { continue };
                let (mut place, after) = rest[range.start - at..].split_at_mut(range.len());
                (rest, at) = (after, range.end);
                for read in self.read_rows(matrix, &tile.rows)? {
                    let (own, others) = place.split_at_mut(read.length);
                    place = others;
                    places.push(own);
                    reads.push(read);
                }
            }
            self.reader.read_now(&reads, &mut places, Some(abort))?;
            self.count(|leases| leases.bytes += reads.iter().map(|read| read.length as u64).sum::<u64>());
            Ok(())
        })
    }

    /// The reads for some rows of a matrix: of its weights, and of their scales.
    pub(super) fn read_rows(&self, matrix: &Matrix, rows: &Range<usize>) -> Result<Vec<Read>> {
        let run = |stored, size| self.read(stored, rows.start * size, rows.len() * size);
        let mut reads = vec![run(&matrix.stored, matrix.row_bytes)?];
        if let Some(scales) = &matrix.scales {
            reads.push(run(&scales.stored, scales.row_bytes)?);
        }
        Ok(reads)
    }

    /// Lists the streamed tiles in the order in which the nodes of a pass need them.
    fn start(&mut self, spec: &Spec) -> Result<()> {
        let mut reads = Vec::new();
        for node in &spec.nodes {
            self.places.push(reads.len());
            let (Op::Linear { weight } | Op::Conv1d { weight }) = node.run else {
                continue;
            };
            let (matrix, _) = self.matrix(weight)?;
            if matrix.tiles.is_empty() {
                return Err(Error::bad(format!("Cannot multiply by weight {weight}: it has no tiles")));
            }
            for tile in matrix.tiles.iter().filter(|tile| tile.pinned.is_none()) {
                reads.push(self.read_rows(matrix, &tile.rows)?);
            }
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

    pub(super) fn matrix(&self, weight: usize) -> Result<&(Matrix, Arc<Pinned>)> {
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

    /// (outputs, inputs) of a weight as it is stored.
    pub fn shape(&self, weight: usize) -> Result<(usize, usize)> {
        self.matrix(weight).map(|(matrix, _)| (matrix.rows, matrix.inputs))
    }

    /// Calls `each` with runs of tiles in order: pinned ones together, streamed ones as they arrive; and with their first row.
    pub fn each_tile(
        &self,
        node: usize,
        weight: usize,
        abort: &AtomicBool,
        mut each: impl FnMut(usize, &[Tile]) -> Result<()>,
    ) -> Result<()> {
        let (matrix, held) = self.matrix(weight)?;
        let mut place = self.places[node];
        let mut run: Vec<Tile> = Vec::new();
        let mut first = 0;
        for tile in &matrix.tiles {
            if let Some(range) = &tile.pinned {
                let rows = tile.rows.len();
                run.push(matrix.tile(rows, matrix.split(rows, held.bytes(range.clone())))?);
                continue;
            }
            if !run.is_empty() {
                each(first, &run)?;
                run.clear();
            }
            let lease = self.lease(place, abort)?;
            let bytes = RowBytes {
                weights: &lease,
                scales: lease.part(1),
            };
            each(tile.rows.start, &[matrix.tile(tile.rows.len(), bytes)?])?;
            place += 1;
            first = tile.rows.end;
        }
        if run.is_empty() {
            return Ok(());
        }
        each(first, &run)
    }

    fn lease(&self, place: usize, abort: &AtomicBool) -> Result<Lease> {
        let stream = self
            .stream
            .as_ref()
            .ok_or_else(|| Error::new(Code::Engine, "Cannot stream: nothing is"))?;
        let began = Instant::now();
        let lease = stream.next(
            place,
            Wait {
                timeout: None,
                abort: Some(abort),
            },
        )?;
        let waited = began.elapsed();
        self.count(|leases| {
            leases.bytes += lease.bytes() as u64;
            if waited < HIT {
                leases.hits += 1;
            } else {
                leases.waits += 1;
                leases.waited += waited.as_nanos() as u64;
            }
        });
        Ok(lease)
    }

    pub(super) fn count(&self, f: impl FnOnce(&mut Leases)) {
        f(&mut self.leases.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What passes took so far.
    pub fn leases(&self) -> Leases {
        *self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

use super::PAGE;

/// The first byte of the first page of `bytes` whose CRC-32 (IEEE, as in zlib) is not the one in `sums`; the last page may
/// be short. A page without a checksum differs.
pub(crate) fn first_mismatch(bytes: &[u8], mut sums: impl Iterator<Item = u32>) -> Option<usize> {
    let differs = |page: &[u8]| sums.next() != Some(crc32fast::hash(page));
    bytes.chunks(PAGE).position(differs).map(|page| page * PAGE)
}

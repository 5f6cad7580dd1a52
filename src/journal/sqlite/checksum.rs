//! The seal of a row: what a disk gives back is looked at before it is believed.
//!
//! A CRC-32, which processors make at many gigabytes a second: it finds every change of up to four bytes in a row, and any
//! other but for one in four thousand million.

/// The checksum of a row that has these numbers and these bytes.
pub(super) fn of(numbers: &[i64], bytes: &[u8]) -> i64 {
    let mut digest = crc32fast::Hasher::new();
    numbers.iter().for_each(|number| digest.update(&number.to_be_bytes()));
    digest.update(bytes);
    i64::from(digest.finalize())
}

/// The checksum of an index page: of the segment that begins at `segment`, from one audience on to before the `next`.
pub(super) fn of_page(segment: i64, audience: &str, next: Option<&str>, page: &[u8]) -> i64 {
    let length = |text: &str| text.len() as i64;
    let mut digest = crc32fast::Hasher::new();
    for number in [segment, length(audience), next.map_or(-1, length)] {
        digest.update(&number.to_be_bytes());
    }
    for bytes in [audience.as_bytes(), next.unwrap_or_default().as_bytes(), page] {
        digest.update(bytes);
    }
    i64::from(digest.finalize())
}

/// Whether a row is what was written. One of the first layout has no checksum, and is believed.
pub(super) fn holds(checksum: Option<i64>, numbers: &[i64], bytes: &[u8]) -> bool {
    checksum.is_none_or(|checksum| checksum == of(numbers, bytes))
}

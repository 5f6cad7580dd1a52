//! What is made once of a value and shared by all who take it.

use std::sync::OnceLock;

use bytes::Bytes;

/// Numbered cells for the encoded forms of one value, each filled when the first one asks for it. What a number stands for is known
/// to whoever fills the cells, and not here.
#[derive(Debug)]
pub struct Forms<const CELLS: usize>([OnceLock<Bytes>; CELLS]);

impl<const CELLS: usize> Forms<CELLS> {
    /// The form in the cell `CELL`, which `make` makes if nobody asked until now. A number that no cell has does not compile.
    pub fn get_or_make<const CELL: usize>(&self, make: impl FnOnce() -> Bytes) -> &Bytes {
        const { assert!(CELL < CELLS, "there is no such cell") };
        self.0[CELL].get_or_init(make)
    }
}

impl<const CELLS: usize> Default for Forms<CELLS> {
    fn default() -> Self {
        Self([const { OnceLock::new() }; CELLS])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cell_is_filled_once() {
        let forms = Forms::<2>::default();
        assert_eq!(forms.get_or_make::<0>(|| "first".into()), "first");
        assert_eq!(forms.get_or_make::<1>(|| "second".into()), "second");
        assert_eq!(forms.get_or_make::<0>(|| panic!("it is there")), "first");
    }

    // The journal keeps a cell in memory for each notification, and what takes more memory must be counted by it.
    #[test]
    fn a_cell_takes_no_more_than_what_is_in_it() {
        assert_eq!(size_of::<Forms<1>>(), size_of::<OnceLock<Bytes>>());
    }
}

//! What happened over time, in a fixed number of cells. When time runs past the last cell, all cells double their width.

use twinline_core::Nanos;

/// How many cells a series has at most: more than a picture has room for. Even, so that they pair up.
pub(super) const CELLS: usize = 400;
/// How wide a cell is at first.
const WIDTH: u64 = 10_000;

/// What a cell holds.
pub(crate) trait Cell: Default {
    /// Adds the contents of the cell behind it.
    fn merge(&mut self, next: Self);
}

/// Cells of equal width, from the first stamp on.
#[derive(Clone, Debug)]
pub(crate) struct Series<T> {
    start: Option<Nanos>,
    width: Nanos,
    cells: Vec<T>,
}

impl<T: Cell> Series<T> {
    /// A series that has not begun.
    pub(crate) fn new() -> Series<T> {
        Series { start: None, width: Nanos(WIDTH), cells: Vec::new() }
    }

    /// The cell of a stamp. The first stamp begins the series; an earlier one counts as the first.
    #[inline]
    pub(crate) fn at(&mut self, stamp: Nanos) -> &mut T {
        let start = *self.start.get_or_insert(stamp);
        let since = (stamp - start).0;
        let mut n = since / self.width.0;
        if n >= self.cells.len() as u64 {
            while n >= CELLS as u64 {
                self.double();
                n = since / self.width.0;
            }
            if n >= self.cells.len() as u64 {
                self.cells.resize_with(n as usize + 1, T::default);
            }
        }
        &mut self.cells[n as usize]
    }

    fn double(&mut self) {
        self.width = self.width + self.width;
        let mut cells = std::mem::take(&mut self.cells).into_iter();
        while let Some(mut cell) = cells.next() {
            if let Some(next) = cells.next() {
                cell.merge(next);
            }
            self.cells.push(cell);
        }
    }

    /// When the first cell begins.
    pub(crate) fn start(&self) -> Option<Nanos> {
        self.start
    }

    /// How wide a cell is.
    pub(crate) fn width(&self) -> Nanos {
        self.width
    }

    /// The cells, from the first stamp's to the last stamp's.
    pub(crate) fn cells(&self) -> &[T] {
        &self.cells
    }
}

impl<T: Cell> Default for Series<T> {
    fn default() -> Series<T> {
        Series::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Cell for u64 {
        fn merge(&mut self, next: u64) {
            *self += next;
        }
    }

    #[test]
    fn cells_double_and_nothing_is_lost() {
        let mut series = Series::<u64>::new();
        let start = Nanos::from_secs(5);
        for n in 0..1_000 {
            *series.at(start + Nanos(n * WIDTH)) += 1;
        }
        assert_eq!((series.start(), series.width()), (Some(start), Nanos(4 * WIDTH)));
        assert_eq!(series.cells(), [4; 250]);
        // before the start, and an hour on
        *series.at(Nanos(3)) += 1;
        assert_eq!(series.cells()[0], 5);
        *series.at(start + Nanos::from_secs(3_600)) += 7;
        assert!(series.cells().len() <= CELLS && series.cells().len() > CELLS / 2);
        assert_eq!(series.cells().iter().sum::<u64>(), 1_008);
        assert_eq!(series.cells().last(), Some(&7));
    }

    #[test]
    fn the_end_of_time_has_a_cell() {
        let mut series = Series::<u64>::new();
        *series.at(Nanos::ZERO) += 1;
        *series.at(Nanos::MAX) += 1;
        assert_eq!(series.cells().iter().sum::<u64>(), 2);
        assert!(series.cells().len() <= CELLS);
    }
}

//! The order of the rows of queries and keys: Hugging Face's, and llama.cpp's for some families.
//!
//! Rotary embedding turns pairs of rows. Hugging Face pairs row `j` of a head with row `j + hd / 2`.
//! Where llama.cpp pairs neighbours, its converter moved row `p hd / 2 + j` of each head to
//! `2 j + p`. Where queries, keys and values are one layer whose rows go head by head, it put all
//! queries first, then all keys.

/// How llama.cpp's converter moved rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    /// The two rows of each pair beside each other.
    Neighbours,
    /// From head by head to queries, keys, values.
    ByPart,
}

impl Moved {
    /// How many rows move among themselves, of so many.
    fn together(self, rows: usize, head_dim: usize) -> usize {
        match self {
            Self::Neighbours => head_dim,
            Self::ByPart => rows,
        }
    }

    /// Where Hugging Face has the row that llama.cpp has at `row`, among `rows`.
    pub(crate) fn back(self, row: usize, rows: usize, head_dim: usize) -> usize {
        if head_dim < 2 {
            return row;
        }
        let place = row % head_dim;
        match self {
            Self::Neighbours => row - place + place % 2 * (head_dim / 2) + place / 2,
            Self::ByPart => {
                let heads = (rows / (3 * head_dim)).max(1);
                let (part, head) = (row / head_dim / heads, row / head_dim % heads);
                (head * 3 + part) * head_dim + place
            }
        }
    }
}

/// Puts the rows of a layer (or the elements of its bias) back in Hugging Face's order. `width` is the
/// length of a row, in numbers or in bytes; 1 number for a bias.
pub(crate) fn put_back<T: Copy>(values: &mut [T], moved: Moved, head_dim: usize, width: usize) {
    reorder(values, moved, head_dim, width, |old, new| (old, new));
}

/// The inverse of [`put_back`]: Hugging Face's order into llama.cpp's.
pub(crate) fn move_as(values: &mut [f32], moved: Moved, head_dim: usize, width: usize) {
    reorder(values, moved, head_dim, width, |old, new| (new, old));
}

/// Moves rows between the two orders; `turn` says which of a row's two places is the old one.
fn reorder<T: Copy>(
    values: &mut [T],
    moved: Moved,
    head_dim: usize,
    width: usize,
    turn: fn(usize, usize) -> (usize, usize),
) {
    if width == 0 || head_dim < 2 {
        return;
    }
    let rows = values.len() / width;
    for group in values.chunks_exact_mut(moved.together(rows, head_dim) * width) {
        let old = group.to_vec();
        let rows = old.len() / width;
        for row in 0..rows {
            let (from, to) = turn(row, moved.back(row, rows, head_dim));
            group[to * width..][..width].copy_from_slice(&old[from * width..][..width]);
        }
    }
}

/// A matrix `[rows, columns]` of elements of `width` the other way round.
pub(crate) fn transposed<T: Copy>(values: &[T], columns: usize, width: usize) -> Vec<T> {
    let rows = values.len() / (columns * width).max(1);
    let place = |column| (0..rows).map(move |row| (row * columns + column) * width);
    let places = (0..columns).flat_map(place);
    places
        .flat_map(|at| &values[at..at + width])
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Moved, move_as, put_back, transposed};

    #[test]
    fn rows_go_back_and_forth() {
        // Two heads of width 4: pairs are beside each other in llama.cpp's files.
        let pairs = vec![0, 1, 2, 3, 4, 5, 6, 7];
        // Two heads of width 2, row by row what Hugging Face has: q, k, v of the first, of the second.
        let parts = vec![0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11];
        for (moved, head_dim, of_llama_cpp, expected) in [
            (Moved::Neighbours, 4, pairs, vec![0, 2, 1, 3, 4, 6, 5, 7]),
            (Moved::ByPart, 2, (0..12).collect(), parts),
        ] {
            let mut rows: Vec<f32> = of_llama_cpp.iter().map(|row| *row as f32).collect();
            let before = rows.clone();
            put_back(&mut rows, moved, head_dim, 1);
            let found: Vec<i32> = rows.iter().map(|row| *row as i32).collect();
            assert_eq!(found, expected, "{moved:?}");
            for (row, _) in before.iter().enumerate() {
                let to = moved.back(row, before.len(), head_dim);
                assert_eq!(rows[to], before[row], "{moved:?}, {row}");
            }
            move_as(&mut rows, moved, head_dim, 1);
            assert_eq!(rows, before, "{moved:?}");
        }
    }

    #[test]
    fn matrices_turn_round() {
        assert_eq!(transposed(&[1, 2, 3, 4, 5, 6], 3, 1), [1, 4, 2, 5, 3, 6]);
        assert_eq!(transposed(&[1, 1, 2, 2, 3, 3], 3, 2), [1, 1, 2, 2, 3, 3]);
        assert_eq!(transposed(&[1, 1, 2, 2], 1, 2), [1, 1, 2, 2]);
    }
}

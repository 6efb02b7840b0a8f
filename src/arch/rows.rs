//! The order of the rows of queries and keys: Hugging Face's, and llama.cpp's for some families.
//!
//! Rotary embedding turns pairs of rows. Hugging Face pairs row `j` of a head with row `j + hd / 2`.
//! Where llama.cpp pairs neighbours, its converter moved row `p hd / 2 + j` of each head to
//! `2 j + p`.

/// Puts the rows of a query or key projection (or the elements of its bias) back in Hugging Face's
/// order. `width` is the length of a row, in numbers or in bytes; 1 number for a bias.
pub(crate) fn unpermute<T: Copy>(values: &mut [T], head_dim: usize, width: usize) {
    reorder(values, head_dim, width, |at| {
        (at % 2) * (head_dim / 2) + at / 2
    });
}

/// The inverse of [`unpermute`]: Hugging Face's order into llama.cpp's.
pub(crate) fn permute(values: &mut [f32], head_dim: usize, width: usize) {
    reorder(values, head_dim, width, |at| {
        2 * (at % (head_dim / 2)) + at / (head_dim / 2)
    });
}

/// Moves row `at` of each head to row `place(at)`.
fn reorder<T: Copy>(
    values: &mut [T],
    head_dim: usize,
    width: usize,
    place: impl Fn(usize) -> usize,
) {
    if width == 0 || head_dim < 2 {
        return;
    }
    for rows in values.chunks_exact_mut(head_dim * width) {
        let old = rows.to_vec();
        for (at, row) in old.chunks_exact(width).enumerate() {
            rows[place(at) * width..][..width].copy_from_slice(row);
        }
    }
}

/// Where [`unpermute`] puts a row.
pub(crate) fn unpermuted_row(row: usize, head_dim: usize) -> usize {
    if head_dim < 2 {
        return row;
    }
    let place = row % head_dim;
    row - place + place % 2 * (head_dim / 2) + place / 2
}

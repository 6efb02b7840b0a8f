//! Where several numbers tie for the last place among the k largest, as bfloat16 logits do, torch's
//! topk takes those that the partial sorts of the C++ library happen to leave first, and a
//! checkpoint's result depends on which. So those sorts are here, step by step.

type Pair = (f32, usize);

fn before(x: Pair, y: Pair) -> bool {
    (x.0.is_nan() && !y.0.is_nan()) || x.0 > y.0
}

/// Places of the k largest numbers, in no order; 0 < k ≤ their count.
pub(super) fn places(values: &[f32], k: usize) -> Vec<usize> {
    let mut pairs: Vec<Pair> = values.iter().copied().zip(0..).collect();
    if k * 64 <= pairs.len() {
        select_by_heap(&mut pairs, k);
    } else {
        select(&mut pairs, k - 1);
    }
    pairs[..k].iter().map(|pair| pair.1).collect()
}

/// std::nth_element.
fn select(all: &mut [Pair], nth: usize) {
    let (mut first, mut last) = (0, all.len());
    let mut depth = 2 * all.len().ilog2();
    while last - first > 3 {
        if depth == 0 {
            select_by_heap(&mut all[first..last], nth + 1 - first);
            all.swap(first, nth);
            return;
        }
        depth -= 1;
        let (a, b, c) = (first + 1, first + (last - first) / 2, last - 1);
        let is = |x: usize, y: usize| before(all[x], all[y]);
        let median = match is(a, b) {
            true if is(b, c) => b,
            true if is(a, c) => c,
            true => a,
            false if is(a, c) => a,
            false if is(b, c) => c,
            false => b,
        };
        all.swap(first, median);
        let (mut low, mut high) = (first + 1, last);
        loop {
            while before(all[low], all[first]) {
                low += 1;
            }
            high -= 1;
            while before(all[first], all[high]) {
                high -= 1;
            }
            if low >= high {
                break;
            }
            all.swap(low, high);
            low += 1;
        }
        if low <= nth { first = low } else { last = low }
    }
    for at in first + 1..last {
        let front = before(all[at], all[first]);
        let mut to = at;
        while to > first && (front || before(all[to], all[to - 1])) {
            all.swap(to, to - 1);
            to -= 1;
        }
    }
}

/// std::__heap_select: the first k of all, moved to the start.
fn select_by_heap(all: &mut [Pair], k: usize) {
    let (heap, rest) = all.split_at_mut(k);
    for at in (0..k / 2).rev() {
        sift(heap, at);
    }
    for pair in rest {
        if before(*pair, heap[0]) {
            std::mem::swap(pair, &mut heap[0]);
            sift(heap, 0);
        }
    }
}

/// std::__adjust_heap.
fn sift(heap: &mut [Pair], top: usize) {
    let (n, pair) = (heap.len(), heap[top]);
    let mut hole = top;
    while 2 * hole + 2 < n {
        let right = 2 * hole + 2;
        let child = right - usize::from(before(heap[right], heap[right - 1]));
        heap[hole] = heap[child];
        hole = child;
    }
    if 2 * hole + 2 == n {
        heap[hole] = heap[n - 1];
        hole = n - 1;
    }
    while hole > top && before(heap[(hole - 1) / 2], pair) {
        heap[hole] = heap[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    heap[hole] = pair;
}

#[cfg(test)]
mod tests {
    /// Rows of letters for numbers, filled up with `a`, the smallest; their length; k; and the places
    /// that torch 2.15.0 chose.
    const CHOSEN: &[(&str, usize, usize, &[usize])] = &[
        ("", 1, 1, &[0]),
        ("", 3, 2, &[0, 1]),
        ("abb", 3, 1, &[1]),
        ("", 4, 2, &[2, 3]),
        ("", 5, 3, &[2, 3, 4]),
        ("", 16, 3, &[10, 11, 12]),
        ("bab", 17, 4, &[0, 2, 12, 13]),
        ("abcababcababcaba", 16, 5, &[2, 7, 9, 11, 12]),
        ("cabbacbcab", 24, 7, &[0, 2, 3, 5, 6, 7, 9]),
        ("", 63, 1, &[41]),
        // Parts so unevenly that a heap finishes it.
        (
            "aoemakciagpnljhfdbaa",
            20,
            16,
            &[1, 2, 3, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19],
        ),
        // From 64 times k on it is a heap from the start.
        ("", 64, 1, &[0]),
        ("", 192, 3, &[0, 1, 2]),
        ("aaaaaab", 256, 4, &[0, 1, 3, 6]),
        ("aaaaaabaab", 256, 4, &[1, 3, 6, 9]),
        ("abaacabaa", 320, 5, &[0, 1, 3, 4, 6]),
    ];

    #[test]
    fn ties_fall_as_in_torch() {
        for &(letters, length, k, chosen) in CHOSEN {
            let ends = std::iter::repeat(b'a');
            let row = letters.bytes().chain(ends).take(length).map(f32::from);
            let mut places = super::places(&row.collect::<Vec<_>>(), k);
            places.sort_unstable();
            assert_eq!(places, chosen, "{letters}… {length}, {k}");
        }
    }
}

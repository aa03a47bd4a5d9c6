//! Where two sequences go on alike, with the fewest items left out.

use std::collections::HashMap;
use std::hash::Hash;

/// How many items of `a` and of `b` stand before the nearest one that both have; none if they have none in common.
///
/// Looks at few items first: most differences are small, and a log may have millions of them.
pub(super) fn nearest<T: Copy + Eq + Hash>(
    a: impl Iterator<Item = T> + Clone,
    b: impl Iterator<Item = T> + Clone,
) -> Option<(usize, usize)> {
    let mut radius = RADIUS_MIN;
    loop {
        let (near_a, near_b): (Vec<T>, Vec<T>) =
            (a.clone().take(radius).collect(), b.clone().take(radius).collect());
        let whole = near_a.len() < radius && near_b.len() < radius;
        match nearest_of(&near_a, &near_b) {
            // A pair further along one side could still be nearer.
            Some((i, j)) if whole || i + j < radius => return Some((i, j)),
            None if whole => return None,
            _ => radius *= 4,
        }
    }
}

fn nearest_of<T: Copy + Eq + Hash>(a: &[T], b: &[T]) -> Option<(usize, usize)> {
    let mut first_in_b = HashMap::with_capacity(b.len());
    for (j, item) in b.iter().enumerate() {
        first_in_b.entry(*item).or_insert(j);
    }
    let mut best: Option<(usize, usize)> = None;
    for (i, item) in a.iter().enumerate() {
        if best.is_some_and(|(best_i, best_j)| best_i + best_j <= i) {
            break;
        }
        let nearer = |j: &&usize| best.is_none_or(|(best_i, best_j)| i + **j < best_i + best_j);
        if let Some(&j) = first_in_b.get(item).filter(nearer) {
            best = Some((i, j));
        }
    }
    best
}

const RADIUS_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::nearest;

    /// The same by trying every pair.
    fn naive(a: &[usize], b: &[usize]) -> Option<usize> {
        let pairs = (0..a.len()).flat_map(|i| (0..b.len()).map(move |j| (i, j)));
        pairs.filter(|&(i, j)| a[i] == b[j]).map(|(i, j)| i + j).min()
    }

    #[test]
    fn the_nearest_pair_is_the_one_with_the_fewest_items_before_it() {
        let mut random = 1_u32;
        let mut draw = |below: usize| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) as usize % below
        };
        for _ in 0..2000 {
            let values = [3, 50, 400][draw(3)];
            let mut list = |most: usize| (0..draw(most)).map(|_| draw(values)).collect::<Vec<_>>();
            let (a, b) = (list(120), list(120));
            let found = nearest(a.iter(), b.iter());
            assert_eq!(found.map(|(i, j)| i + j), naive(&a, &b), "{a:?} {b:?}");
            assert!(found.is_none_or(|(i, j)| a[i] == b[j]), "{a:?} {b:?}");
        }
    }

    #[test]
    fn nothing_in_common_is_nothing() {
        assert_eq!(nearest([1, 2, 3].iter(), [4, 5].iter()), None);
        assert_eq!(nearest([].iter(), [4].iter()), None);
    }
}

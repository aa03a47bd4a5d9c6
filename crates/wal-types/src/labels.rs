//! A whole label set in one allocation, packed as the wire packs it.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::iter::FusedIterator;

use crate::Label;
use crate::varint::{put_uvarint, uvarint, uvarint_len};

/// The labels of one series, sorted by name (bytewise).
///
/// A set is one allocation that holds what a series entry holds: for every label the length of its name, the name,
/// the length of its value, the value, lengths as base-128 integers in their shortest form. Encoding a set is
/// therefore a copy, and so is decoding one that was written by us or by the reference, which sorts before logging.
///
/// Labels of equal name are kept, in the order given: the log gives back what it was given.
///
/// ```
/// use wal_types::Labels;
///
/// let labels = Labels::from_pairs([("job", "node"), ("__name__", "up")]);
/// assert_eq!(labels.to_string(), r#"{__name__="up",job="node"}"#);
/// assert_eq!(labels.get(b"job"), Some(b"node".as_slice()));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// Invariant: exactly `count` pairs, names in ascending order, every length in its shortest form.
    packed: Box<[u8]>,
    count: usize,
}

impl Labels {
    /// The set without labels; allocates nothing.
    pub fn new() -> Self {
        Labels::default()
    }

    /// A set from names and values in any order; the sort by name is stable.
    pub fn from_pairs<I, N, V>(pairs: I) -> Self
    where
        I: IntoIterator<Item = (N, V)>,
        N: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().collect();
        pairs.sort_by(|(a, _), (b, _)| a.as_ref().cmp(b.as_ref()));
        let text = |bytes: &[u8]| uvarint_len(len_u64(bytes)) + bytes.len();
        let bytes = pairs.iter().map(|(name, value)| text(name.as_ref()) + text(value.as_ref())).sum();
        let mut packed = Vec::with_capacity(bytes);
        for (name, value) in &pairs {
            for text in [name.as_ref(), value.as_ref()] {
                put_uvarint(&mut packed, len_u64(text));
                packed.extend_from_slice(text);
            }
        }
        Labels { packed: packed.into_boxed_slice(), count: pairs.len() }
    }

    /// Takes over bytes that are packed and sorted already, with one allocation and one copy.
    ///
    /// `None` unless `packed` is exactly `count` pairs, sorted by name, with every length in its shortest form.
    pub fn from_sorted_packed(packed: &[u8], count: usize) -> Option<Labels> {
        let mut rest = packed;
        let mut previous: &[u8] = &[];
        for _ in 0..count {
            let name = take_canonical(&mut rest)?;
            take_canonical(&mut rest)?;
            if name < previous {
                return None;
            }
            previous = name;
        }
        rest.is_empty().then(|| Labels { packed: packed.into(), count })
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The labels in ascending order of their names.
    pub fn iter(&self) -> LabelsIter<'_> {
        LabelsIter { rest: &self.packed, left: self.count }
    }

    /// The value of the first label called `name`.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter()
            .find(|label| name <= label.name)
            .filter(|label| label.name == name)
            .map(|label| label.value)
    }

    /// The packed bytes: what follows the label count in a series entry.
    pub fn packed(&self) -> &[u8] {
        &self.packed
    }
}

/// The labels of a [`Labels`] in order; see [`Labels::iter`].
#[derive(Clone, Debug)]
pub struct LabelsIter<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for LabelsIter<'a> {
    type Item = Label<'a>;

    fn next(&mut self) -> Option<Label<'a>> {
        self.left = self.left.checked_sub(1)?;
        Some(Label { name: take_text(&mut self.rest)?, value: take_text(&mut self.rest)? })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for LabelsIter<'_> {}
impl FusedIterator for LabelsIter<'_> {}

impl<'a> IntoIterator for &'a Labels {
    type Item = Label<'a>;
    type IntoIter = LabelsIter<'a>;

    fn into_iter(self) -> LabelsIter<'a> {
        self.iter()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Labels::from_pairs(pairs)
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    /// Label by label, name before value, bytewise; a set comes before its extensions.
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other)
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The packed form is unique to a set, so hashing it agrees with equality.
        self.packed.hash(state);
    }
}

impl fmt::Display for Labels {
    /// As Prometheus prints a set, `{a="b",c="d"}`; see [`Label`] for the escapes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, label) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{label}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Labels{self}")
    }
}

/// A length as the wire counts it; a `usize` never exceeds 64 bits on a platform that Rust supports.
fn len_u64(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, used) = uvarint(rest)?;
    let (text, after) = rest.get(used..)?.split_at_checked(usize::try_from(len).ok()?)?;
    *rest = after;
    Some(text)
}

fn take_canonical<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    // Almost every text is shorter than 128 bytes.
    if let [len @ ..0x80, after @ ..] = *rest {
        let (text, after) = after.split_at_checked(usize::from(*len))?;
        *rest = after;
        return Some(text);
    }
    let before = rest.len();
    let text = take_text(rest)?;
    let used = before - rest.len() - text.len();
    (used == uvarint_len(len_u64(text))).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(labels: &Labels) -> Vec<(Vec<u8>, Vec<u8>)> {
        labels.iter().map(|label| (label.name.to_vec(), label.value.to_vec())).collect()
    }

    #[test]
    fn equal_names_keep_the_order_they_came_in() {
        let labels = Labels::from_pairs([("b", "1"), ("a", "2"), ("b", "0")]);
        assert_eq!(labels.to_string(), r#"{a="2",b="1",b="0"}"#);
        assert_eq!(labels.get(b"b"), Some(b"1".as_slice()));
        assert_eq!(labels.get(b"c"), None);
        assert_eq!(labels.get(b""), None);
    }

    #[test]
    fn the_empty_set_is_empty() {
        assert_eq!(Labels::new().to_string(), "{}");
        assert_eq!(Labels::from_sorted_packed(&[], 0), Some(Labels::new()));
        assert!(Labels::new().is_empty() && Labels::new().iter().next().is_none());
    }

    #[test]
    fn packed_bytes_that_break_the_invariant_are_refused() {
        assert!(Labels::from_sorted_packed(b"\x01a\x01b", 1).is_some());
        assert!(Labels::from_sorted_packed(b"\x01a\x01b", 2).is_none(), "a pair is missing");
        assert!(Labels::from_sorted_packed(b"\x01a\x01b\x00", 1).is_none(), "a byte is left over");
        assert!(
            Labels::from_sorted_packed(b"\x81\x00a\x01b", 1).is_none(),
            "a length is longer than it need be"
        );
        assert!(Labels::from_sorted_packed(b"\x01b\x00\x01a\x00", 2).is_none(), "the names are not sorted");
        assert!(Labels::from_sorted_packed(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a", 1).is_none());
        assert!(Labels::from_sorted_packed(b"", usize::MAX).is_none());
    }

    #[test]
    fn order_is_by_label_and_not_by_packed_bytes() {
        let short = Labels::from_pairs([("b", "x")]);
        let long = Labels::from_pairs([("aa", "x")]);
        assert!(long < short);
        assert!(short.packed() < long.packed());
        assert!(Labels::new() < long);
    }

    proptest! {
        #[test]
        fn sets_survive_packing(input: Vec<(Vec<u8>, Vec<u8>)>) {
            let labels = Labels::from_pairs(input.clone());
            let mut sorted = input;
            sorted.sort_by(|a, b| a.0.cmp(&b.0));
            prop_assert_eq!(pairs(&labels), sorted);
            prop_assert_eq!(labels.iter().len(), labels.len());
            let again = Labels::from_sorted_packed(labels.packed(), labels.len());
            prop_assert_eq!(again, Some(labels));
        }

        #[test]
        fn order_agrees_with_the_list_of_pairs(a: Vec<(Vec<u8>, Vec<u8>)>, b: Vec<(Vec<u8>, Vec<u8>)>) {
            let (a, b) = (Labels::from_pairs(a), Labels::from_pairs(b));
            prop_assert_eq!(a.cmp(&b), pairs(&a).cmp(&pairs(&b)));
            prop_assert_eq!(a == b, pairs(&a) == pairs(&b));
        }

        #[test]
        fn any_bytes_are_packed_labels_or_refused(bytes: Vec<u8>, count in 0_usize..8) {
            if let Some(labels) = Labels::from_sorted_packed(&bytes, count) {
                let again = Labels::from_pairs(pairs(&labels));
                prop_assert_eq!(again.packed(), bytes);
            }
        }
    }
}

//! The rule for an event that is larger than an item of DynamoDB may be: its longest strings are cut, all of those to
//! the same length, as little as makes it fit. Each cut string says so at its end, with its length and a hash of what
//! it was, so that events which differ there stay different. Nothing else is touched, and never a string that
//! identifies the event.

use aws_sdk_dynamodb::types::AttributeValue;
use sha2::{Digest, Sha256};

use crate::state::fault::Attributes;
use crate::state::record::{MAX_ITEM, size};

/// No string is cut to less, the mark included.
const LEAST: usize = 256;
/// What identifies an event stays whole.
const KEPT: [&str; 7] = ["event", "code", "uid", "time", "sid", "cluster_name", "user"];

/// Cuts the event in `item` until the item is stored, with so many bytes to spare. Answers whether there was need to; an
/// error says how large it stays.
///
/// What is cut depends on the event alone, neither on how long it is kept nor on the index that it is stored under:
/// emitted again by another process it is the same.
pub(super) fn fit(item: &mut Attributes, spare: usize) -> Result<bool, String> {
    let before = fullest(item) + spare;
    let Some(excess) = before.checked_sub(MAX_ITEM).filter(|excess| *excess > 0) else {
        return Ok(false);
    };
    let Some(AttributeValue::M(fields)) = item.get_mut("FieldsMap") else {
        return Err(too_large(before));
    };
    let mut strings = Vec::new();
    each(fields, &mut |text| strings.push(text.len()));
    let Some(cap) = cap(strings, excess) else {
        return Err(too_large(before));
    };
    each(fields, &mut |text| cut(text, cap));
    Ok(true)
}

/// The size of an item with the longest numbers in the attributes that may be others another time.
fn fullest(item: &Attributes) -> usize {
    let varying = [
        ("Expires", u64::MAX.to_string()),
        ("EventIndex", i64::MIN.to_string()),
    ];
    let one = |name: &str, value: AttributeValue| size(&Attributes::from([(name.to_owned(), value)]));
    let changed = varying.into_iter().map(|(name, longest)| {
        let there = item.get(name).map_or(0, |value| one(name, value.clone()));
        (there, one(name, AttributeValue::N(longest)))
    });
    let (there, longest) = changed.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    size(item).saturating_sub(there) + longest
}

fn too_large(bytes: usize) -> String {
    format!(
        "it takes {bytes} bytes in the table, where an item may have {MAX_ITEM}, and has no strings long enough to cut"
    )
}

/// The greatest length to which cutting every longer string takes `excess` bytes off.
fn cap(mut lengths: Vec<usize>, excess: usize) -> Option<usize> {
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    let (mut sum, mut found) = (0, None);
    for (count, length) in lengths.iter().enumerate().map(|(at, length)| (at + 1, *length)) {
        sum += length;
        // Cutting these `count` to `cap` takes off sum - count * cap.
        let cap = sum.checked_sub(excess).map(|left| left / count);
        let next = lengths.get(count).copied().unwrap_or_default();
        if let Some(cap) = cap.filter(|cap| *cap >= next.max(LEAST)) {
            found = Some(cap);
            break;
        }
    }
    found.or_else(|| {
        let off: usize = lengths.iter().map(|length| length.saturating_sub(LEAST)).sum();
        (off >= excess).then_some(LEAST)
    })
}

fn cut(text: &mut String, cap: usize) {
    if text.len() <= cap {
        return;
    }
    let hash = Sha256::digest(text.as_bytes());
    let hash: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let mark = format!("...[trimmed: {} bytes, sha256 {hash}]", text.len());
    let mut end = cap.saturating_sub(mark.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push_str(&mark);
}

/// Every string that may be cut.
fn each(fields: &mut Attributes, look: &mut impl FnMut(&mut String)) {
    for (name, value) in fields {
        if !KEPT.contains(&name.as_str()) {
            within(value, look);
        }
    }
}

fn within(value: &mut AttributeValue, look: &mut impl FnMut(&mut String)) {
    match value {
        AttributeValue::S(text) => look(text),
        AttributeValue::L(elements) => elements.iter_mut().for_each(|element| within(element, look)),
        AttributeValue::M(members) => members.values_mut().for_each(|member| within(member, look)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(fields: Vec<(&str, AttributeValue)>) -> Attributes {
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
        Attributes::from([("FieldsMap".to_owned(), AttributeValue::M(fields.collect()))])
    }

    fn text(length: usize) -> AttributeValue {
        AttributeValue::S("é".repeat(length / 2))
    }

    fn length(item: &Attributes, name: &str) -> usize {
        item["FieldsMap"].as_m().unwrap()[name].as_s().unwrap().len()
    }

    #[test]
    fn the_longest_strings_are_cut_as_little_as_makes_it_fit() {
        let mut large = item(vec![
            ("a", text(300_000)),
            ("b", AttributeValue::L(vec![text(200_000)])),
            ("c", text(1_000)),
            ("user", text(2_000)),
        ]);
        assert_eq!(fit(&mut large, 0), Ok(true));
        let after = fullest(&large);
        assert!((MAX_ITEM - 8..=MAX_ITEM).contains(&after), "{after}");
        assert_eq!((length(&large, "c"), length(&large, "user")), (1_000, 2_000));
        let cut = large["FieldsMap"].as_m().unwrap()["a"].as_s().unwrap();
        assert!(
            cut.contains("...[trimmed: 300000 bytes, sha256 ") && cut.ends_with(']'),
            "{}",
            &cut[cut.len() - 70..]
        );
        assert_eq!(fit(&mut large, 0), Ok(false));
    }

    #[test]
    fn what_has_nothing_to_cut_is_refused() {
        let numbers = vec![AttributeValue::N("1".to_owned()); 200_000];
        let refused = fit(&mut item(vec![("n", AttributeValue::L(numbers))]), 0).unwrap_err();
        assert!(refused.contains("409600"), "{refused}");
        assert!(fit(&mut item(vec![("uid", text(500_000))]), 0).is_err());
    }

    #[test]
    fn an_item_of_the_very_size_is_left_alone() {
        let empty = fullest(&item(vec![("a", text(0))]));
        let mut just = item(vec![("a", AttributeValue::S("x".repeat(MAX_ITEM - empty)))]);
        assert_eq!((fullest(&just), fit(&mut just, 0)), (MAX_ITEM, Ok(false)));
        let mut over = item(vec![("a", AttributeValue::S("x".repeat(MAX_ITEM - empty + 1)))]);
        assert_eq!(fit(&mut over, 0), Ok(true));
        // Whatever its index and its end are, it is cut to the same; with bytes to spare, to less.
        for (index, expires) in [
            ("0", None),
            ("4611686018427387903", None),
            ("-77", Some("1826668983")),
        ] {
            let mut same = item(vec![("a", AttributeValue::S("x".repeat(MAX_ITEM - empty + 1)))]);
            same.insert("EventIndex".to_owned(), AttributeValue::N(index.to_owned()));
            same.extend(expires.map(|at| ("Expires".to_owned(), AttributeValue::N(at.to_owned()))));
            assert_eq!(fit(&mut same, 0), Ok(true));
            assert_eq!(same["FieldsMap"], over["FieldsMap"]);
            assert_eq!(
                (fit(&mut same, 4096), fullest(&same)),
                (Ok(true), MAX_ITEM - 4096)
            );
        }
    }
}

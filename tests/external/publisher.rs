//! Real messages from a file, for the publisher.

use twinline_node::publisher::{BinaryFile, MessageSource};

use crate::support::trials::{Test, captured, tests};

pub const TESTS: &[Test] = tests![nasdaq_s_test_file_is_stepped_by_message_type];

fn nasdaq_s_test_file_is_stepped_by_message_type() {
    let mut file = BinaryFile::open(&captured("itch/ex20101224.TEST_ITCH_50.gz")).unwrap();
    let (mut message, mut kinds) = (Vec::new(), std::collections::BTreeMap::new());
    while file.next(&mut message).unwrap().is_some() {
        *kinds.entry(char::from(message[0])).or_insert(0) += 1;
    }
    assert_eq!(file.warning(), None);
    assert_eq!(kinds.values().sum::<i32>(), 12_012, "{kinds:?}");
}

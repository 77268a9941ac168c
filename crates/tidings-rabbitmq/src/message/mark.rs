//! What a message carries for us in a property that nobody uses: [`Mark`].
//!
//! `cluster_id` means nothing since AMQP 0.9; servers and clients hand it on. A header would do as well, but a table costs
//! more than all else in a small message.

use lapin::BasicProperties;

/// How a mark begins, so that it is told from what others may write there.
const BEGINS: &str = "t:";
/// The most that a mark takes: its beginning, a number in hexadecimal, a colon and three digits.
pub(super) const MARK_BYTES: usize = BEGINS.len() + 16 + 1 + 3;

/// The number of a publish, by which a message that comes back as unroutable is known; and what the timestamp, which has
/// whole seconds, has besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    pub(crate) publish: Option<u64>,
    pub(super) millis: u16,
}

impl Mark {
    /// The mark in those properties, if it is one of ours.
    pub(crate) fn of(properties: &BasicProperties) -> Option<Self> {
        Self::parse(properties.cluster_id().as_ref()?.as_str())
    }

    pub(super) fn write(self, properties: BasicProperties) -> BasicProperties {
        if self == Self::default() {
            return properties;
        }
        let mut text = String::with_capacity(MARK_BYTES);
        text.push_str(BEGINS);
        if let Some(publish) = self.publish {
            digits::<16>(&mut text, publish);
        }
        text.push(':');
        digits::<10>(&mut text, self.millis.into());
        properties.with_cluster_id(text.into())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut digits = text.strip_prefix(BEGINS)?.chars();
        let mut publish: Option<u64> = None;
        loop {
            match digits.next()? {
                ':' => break,
                digit => {
                    let above = publish.unwrap_or_default().checked_mul(16)?;
                    publish = Some(above + u64::from(digit.to_digit(16)?));
                }
            }
        }
        let millis = digits.as_str().parse().ok().filter(|millis| *millis < 1000)?;
        Some(Self { publish, millis })
    }
}

/// As `format!` would write it, in fewer steps: one is written for each message. To divide by a number that the compiler knows
/// is a multiplication.
fn digits<const RADIX: u64>(to: &mut String, mut number: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    for digit in digits.iter_mut().rev() {
        first -= 1;
        *digit = match (number % RADIX) as u8 {
            small @ ..10 => b'0' + small,
            large => b'a' + large - 10,
        };
        number /= RADIX;
        if number == 0 {
            break;
        }
    }
    to.extend(digits.iter().skip(first).copied().map(char::from));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_as_it_was_and_others_have_none() {
        for mark in [(None, 7), (Some(0), 0), (Some(0xa0), 10), (Some(u64::MAX), 999)] {
            let (publish, millis) = mark;
            let mark = Mark { publish, millis };
            let written = mark.write(BasicProperties::default());
            assert_eq!(Mark::of(&written), Some(mark));
            let number = publish.map_or(String::new(), |publish| format!("{publish:x}"));
            let expected = format!("t:{number}:{millis}");
            assert_eq!(written.cluster_id().as_ref().unwrap().as_str(), expected);
            assert!(written.cluster_id().as_ref().unwrap().as_str().len() <= MARK_BYTES);
        }
        assert_eq!(
            Mark::default().write(BasicProperties::default()),
            BasicProperties::default()
        );
        for foreign in ["", "t:", "rabbit@host", "t:1", "t:x:1", "t:1:1000", "t:1:1:1"] {
            assert_eq!(Mark::parse(foreign), None, "{foreign:?}");
        }
    }
}

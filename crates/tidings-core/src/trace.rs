//! What belongs together across services: [`TraceParent`].

/// The `traceparent` header of W3C Trace Context, level 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TraceParent {
    trace: u128,
    span: u64,
    flags: u8,
}

impl TraceParent {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let sized = version.len() == 2 && trace.len() == 32 && span.len() == 16 && flags.len() == 2;
        if !sized || version == "ff" {
            return None;
        }
        let parsed = Self {
            trace: u128::from_str_radix(trace, 16).ok()?,
            span: u64::from_str_radix(span, 16).ok()?,
            flags: u8::from_str_radix(flags, 16).ok()?,
        };
        (parsed.trace != 0 && parsed.span != 0).then_some(parsed)
    }

    /// A new span in the cause's trace, or in a new one.
    pub(crate) fn next(cause: Option<Self>) -> Self {
        let span = fastrand::u64(1..);
        cause.map_or_else(
            || Self {
                trace: fastrand::u128(1..),
                span,
                flags: 0,
            },
            |cause| Self { span, ..cause },
        )
    }
}

impl TraceParent {
    /// `00-` trace `-` span `-` flags, in lower-case hexadecimal.
    pub(crate) fn encode(self) -> [u8; 55] {
        let mut text = [b'-'; 55];
        hexadecimal(&mut text[..2], 0);
        hexadecimal(&mut text[3..35], self.trace);
        hexadecimal(&mut text[36..52], self.span.into());
        hexadecimal(&mut text[53..], self.flags.into());
        text
    }
}

/// Writes the lowest digits of a number, as many as there is room for.
fn hexadecimal(text: &mut [u8], number: u128) {
    for (place, digit) in text.iter_mut().rev().enumerate() {
        let nibble = (number >> (4 * place)) as u8 & 15;
        *digit = if nibble < 10 {
            b'0' + nibble
        } else {
            b'a' + nibble - 10
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_written_as_it_is_read() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
        let trace = TraceParent::parse(text).unwrap();
        assert_eq!(trace.encode().as_slice(), text.as_bytes());
        let next = TraceParent::next(Some(trace));
        assert_eq!((next.trace, next.flags), (trace.trace, trace.flags));
        assert_ne!(next.span, trace.span);
        for malformed in [
            "",
            "00-1-2-3",
            "ff-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            "é",
        ] {
            assert!(TraceParent::parse(malformed).is_none(), "{malformed}");
        }
    }
}

//! The headers of a distributed trace: traceparent and tracestate (W3C Trace Context, Recommendation of 23 November 2021).

/// Bytes of a traceparent of version 00: `00-` trace id `-` parent id `-` flags.
const PARENT: usize = 55;
/// Members of a tracestate.
const MEMBERS: usize = 32;
/// Bytes of a tracestate that is passed on; the recommendation asks for at least as many.
const STATE: usize = 512;

/// Whether this is a traceparent that may be passed on. Of later versions the first part, which is as that of version 00, is looked at.
pub fn is_traceparent(value: &str) -> bool {
    let (Some(known), Some(rest)) = (value.as_bytes().get(..PARENT), value.as_bytes().get(PARENT..)) else {
        return false;
    };
    let mut parts = known.split(|byte| *byte == b'-');
    let (Some(version), Some(trace), Some(parent), Some(flags), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let is_right = is_hex(version, 2) && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
    let is_something = version != b"ff" && !is_zero(trace) && !is_zero(parent);
    is_right && is_something && (rest.is_empty() || version != b"00" && rest.starts_with(b"-"))
}

/// The traceparent among headers as an executor gets them, a line `name:value` each, if there is one that is valid.
pub fn traceparent_in(lines: &[u8]) -> Option<&str> {
    one_traceparent(values(lines, b"traceparent:"))
}

/// The tracestate among such headers. Without a traceparent it means nothing.
pub fn tracestate_in(lines: &[u8]) -> Option<String> {
    traceparent_in(lines)?;
    let parts: Option<Vec<&str>> = values(lines, b"tracestate:").map(|value| std::str::from_utf8(value).ok()).collect();
    Some(parts?.join(",")).filter(|state| is_tracestate(state))
}

/// The traceparent, if exactly one was sent and it is valid.
pub fn one_traceparent<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<&'a str> {
    let value = std::str::from_utf8(values.next()?).ok()?.trim_matches([' ', '\t']);
    (values.next().is_none() && is_traceparent(value)).then_some(value)
}

fn values<'a>(lines: &'a [u8], name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    lines.split(|byte| *byte == b'\n').filter_map(move |line| line.strip_prefix(name))
}

fn is_hex(part: &[u8], length: usize) -> bool {
    part.len() == length && part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_zero(part: &[u8]) -> bool {
    part.iter().all(|byte| *byte == b'0')
}

/// Whether this is a tracestate that may be passed on: the values of all its headers, joined with commas.
pub fn is_tracestate(value: &str) -> bool {
    let mut keys = Vec::new();
    for member in value.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty()) {
        let Some((key, value)) = member.split_once('=') else { return false };
        if !is_key(key) || !is_value(value) || keys.contains(&key) {
            return false;
        }
        keys.push(key);
    }
    value.len() <= STATE && (1..=MEMBERS).contains(&keys.len())
}

/// `simple-key` or `tenant-id@system-id`.
fn is_key(key: &str) -> bool {
    let part = |part: &str, most: usize, may_begin: fn(u8) -> bool| {
        part.len() <= most
            && part.bytes().next().is_some_and(may_begin)
            && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/'))
    };
    let letter = |byte: u8| byte.is_ascii_lowercase();
    match key.split_once('@') {
        None => part(key, 256, letter),
        Some((tenant, system)) => {
            part(tenant, 241, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) && part(system, 14, letter)
        }
    }
}

fn is_value(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= 256
        && !value.ends_with(' ')
        && value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b',' && byte != b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn parents() {
        assert!(is_traceparent(GOOD));
        assert!(is_traceparent(&GOOD.replacen("00", "cc", 1)));
        assert!(is_traceparent(&format!("{}-what-comes-later", GOOD.replacen("00", "cc", 1))));
        for bad in [
            "",
            "00",
            &GOOD[..54],
            &format!("{GOOD}-more"),
            &format!("{GOOD}0"),
            &format!("{}x", GOOD.replacen("00", "cc", 1)),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replace("4bf9", "4BF9"),
            &GOOD.replace('-', "_"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }

    #[test]
    fn headers() {
        let lines = |text: &str| text.replace("GOOD", GOOD).into_bytes();
        let one = lines("host:x\ntraceparent:GOOD\ntracestate:a=1\ntracestate: b=2\n");
        assert_eq!((traceparent_in(&one), tracestate_in(&one).as_deref()), (Some(GOOD), Some("a=1, b=2")));
        for none in [
            "",
            "x-traceparent:GOOD\n",
            "traceparent:GOOD\ntraceparent:GOOD\ntracestate:a=1\n",
            "traceparent:no\ntracestate:a=1\n",
        ] {
            assert_eq!((traceparent_in(&lines(none)), tracestate_in(&lines(none))), (None, None), "{none}");
        }
    }

    #[test]
    fn states() {
        for good in ["congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "1a@b=1, b=2 ,,c= 3", "a*/_-=~"] {
            assert!(is_tracestate(good), "{good}");
        }
        let many = (0..33).map(|number| format!("k{number}=1")).collect::<Vec<_>>().join(",");
        let long = format!("a={}", "x".repeat(257));
        let two = "x".repeat(250);
        let longer = format!("a={two},b={two},c=1234567");
        for bad in [
            "", ",", "a", "a=", "=a", "A=1", "1=1", "a=1,a=2", "a=1=2", "a=\u{e4}", "a@=1", "a@1=1", &many, &long,
            &longer,
        ] {
            assert!(!is_tracestate(bad), "{bad}");
        }
    }
}

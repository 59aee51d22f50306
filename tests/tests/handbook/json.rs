//! JSON as documents show it: members in an order that reads well, `…` for what is left out or differs each time, `$name` for a value
//! that is named.

use serde_json::{Map, Number, Value};

/// Members that say how long something took.
const DURATIONS: &[&str] = &["execution_time_ms", "duration_ms", "uptime_seconds", "longest_ms", "age_ms"];

/// What is shown.
#[derive(Debug, PartialEq)]
pub enum Pattern {
    /// `…`
    Any,
    /// A string, with `…` or names in it.
    Text(String),
    /// Another scalar.
    Scalar(Value),
    /// Its elements; `Any` is any number of them.
    Array(Vec<Pattern>),
    /// Its members, and whether there may be others.
    Object(Vec<(String, Pattern)>, bool),
}

/// The values of a text that has nothing else, and one at least.
pub fn patterns(text: &str) -> Option<Vec<Pattern>> {
    let mut rest = text.trim();
    let mut patterns = Vec::new();
    while !rest.is_empty() {
        patterns.push(value(&mut rest)?);
        rest = rest.trim_start();
    }
    // `…` alone is any text.
    (patterns.iter().any(|pattern| *pattern != Pattern::Any)).then_some(patterns)
}

/// The names' values, or what is otherwise in `printed`: as many values as are shown.
pub fn compare(shown: &[Pattern], printed: &[Value]) -> Result<Vec<(String, String)>, String> {
    let mut names = Vec::new();
    array(shown, printed, &mut names).map(|()| names)
}

fn take(rest: &mut &str, token: char) -> Option<()> {
    *rest = rest.trim_start().strip_prefix(token)?;
    Some(())
}

fn value(rest: &mut &str) -> Option<Pattern> {
    *rest = rest.trim_start();
    match rest.chars().next()? {
        '…' => take(rest, '…').map(|()| Pattern::Any),
        '"' => string(rest).map(Pattern::Text),
        '[' => {
            take(rest, '[')?;
            let mut elements = Vec::new();
            while take(rest, ']').is_none() {
                elements.push(value(rest)?);
                let _ = take(rest, ',');
            }
            Some(Pattern::Array(elements))
        }
        '{' => {
            take(rest, '{')?;
            let (mut members, mut others) = (Vec::new(), false);
            while take(rest, '}').is_none() {
                if take(rest, '…').is_some() {
                    others = true;
                } else {
                    *rest = rest.trim_start();
                    let name = string(rest)?;
                    take(rest, ':')?;
                    members.push((name, value(rest)?));
                }
                let _ = take(rest, ',');
            }
            Some(Pattern::Object(members, others))
        }
        _ => {
            let end = rest.find([',', ']', '}', '…', ' ', '\n']).unwrap_or(rest.len());
            let (scalar, behind) = rest.split_at(end);
            *rest = behind;
            serde_json::from_str(scalar).ok().map(Pattern::Scalar)
        }
    }
}

fn string(rest: &mut &str) -> Option<String> {
    let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<String>();
    let text = stream.next()?.ok()?;
    let length = stream.byte_offset();
    *rest = rest.get(length..)?;
    Some(text)
}

/// The names' values, or where `printed` is otherwise.
fn matches(pattern: &Pattern, printed: &Value, names: &mut Vec<(String, String)>) -> Result<(), String> {
    let differs = || Err(format!("{} is printed", shortened(printed)));
    match (pattern, printed) {
        (Pattern::Any, _) => Ok(()),
        (Pattern::Text(shown), Value::String(text)) => {
            names.extend(super::compare::text(shown, text).map_err(|piece| format!("{piece:?} is not in {text:?}"))?);
            Ok(())
        }
        (Pattern::Scalar(shown), printed) if is_same(shown, printed) => Ok(()),
        (Pattern::Array(shown), Value::Array(elements)) => array(shown, elements, names),
        (Pattern::Object(shown, others), Value::Object(members)) => object(shown, *others, members, names),
        _ => differs(),
    }
}

fn is_same(shown: &Value, printed: &Value) -> bool {
    match (shown, printed) {
        (Value::Number(shown), Value::Number(printed)) => Number::as_f64(shown) == Number::as_f64(printed),
        _ => shown == printed,
    }
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    text.char_indices().nth(300).map_or_else(|| text.clone(), |(end, _)| format!("{}…", &text[..end]))
}

fn array(shown: &[Pattern], elements: &[Value], names: &mut Vec<(String, String)>) -> Result<(), String> {
    match shown {
        [] if elements.is_empty() => Ok(()),
        [] => Err(format!("{} more elements are printed", elements.len())),
        [Pattern::Any] => Ok(()),
        [Pattern::Any, rest @ ..] => {
            let places = 0..=elements.len();
            let found = places.into_iter().find(|place| array(rest, &elements[*place..], &mut Vec::new()).is_ok());
            let place = found.ok_or_else(|| format!("what is behind … is not in {}", shortened(&elements.into())))?;
            array(rest, &elements[place..], names)
        }
        [first, rest @ ..] => {
            let (element, elements) = elements.split_first().ok_or("an element is missing")?;
            matches(first, element, names).map_err(|why| format!("[]: {why}"))?;
            array(rest, elements, names)
        }
    }
}

fn object(
    shown: &[(String, Pattern)],
    others: bool,
    members: &Map<String, Value>,
    names: &mut Vec<(String, String)>,
) -> Result<(), String> {
    for (name, pattern) in shown {
        let member = members.get(name).ok_or_else(|| format!("there is no {name:?}"))?;
        if !(DURATIONS.contains(&name.as_str()) && member.is_number()) {
            matches(pattern, member, names).map_err(|why| format!("{name}: {why}"))?;
        }
    }
    let more: Vec<&String> = members.keys().filter(|name| shown.iter().all(|(shown, _)| shown != *name)).collect();
    if others || more.is_empty() { Ok(()) } else { Err(format!("there are members that are not shown: {more:?}")) }
}

#[test]
fn json_is_compared_by_what_it_says() {
    let ask = |shown: &str, printed: Value| compare(&patterns(shown).expect(shown), &[printed]).map(|_| ());
    use serde_json::json;
    assert_eq!(ask("{\"b\":1, \"a\":…}", json!({"a": [1], "b": 1.0})), Ok(()));
    assert_eq!(ask("{\"b\":1,…}", json!({"a": [1], "b": 1})), Ok(()));
    assert!(ask("{\"b\":1}", json!({"a": [1], "b": 1})).is_err() && ask("{\"c\":1,…}", json!({"b": 1})).is_err());
    assert_eq!(ask("[1,…,{\"x\":\"a…z\"},…]", json!([1, 2, {"x": "abz"}, 3])), Ok(()));
    assert!(
        ask("[1,…,4]", json!([1, 2])).is_err()
            && ask("[1]", json!([1, 2])).is_err()
            && ask("\"a\"", json!("b")).is_err()
    );
    assert_eq!(ask("{\"execution_time_ms\":3}", json!({"execution_time_ms": 12})), Ok(()));
    assert_eq!(patterns("{\"a\":1} {\"b\":1}\n").map(|patterns| patterns.len()), Some(2));
    assert_eq!(patterns("{\"a\":1} x").or(patterns("…")), None);
}

//! A strict reader of Prometheus's text format 0.0.4, which also asks what `promtool check metrics` asks: families described once and before
//! their samples, names and labels well formed and in base units, no sample twice, histograms whose buckets grow and fit their count.

use std::collections::{BTreeMap, BTreeSet};

pub type Labels = BTreeMap<String, String>;

#[derive(Debug, Clone)]
pub struct Sample {
    pub name: String,
    pub labels: Labels,
    pub value: f64,
}

/// Everything on a page.
#[derive(Debug, Default)]
pub struct Page {
    pub samples: Vec<Sample>,
    kinds: BTreeMap<String, String>,
}

impl Page {
    /// The sum of the samples of a name that have all of these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|own| own == value))
        };
        self.samples.iter().filter(fits).map(|sample| sample.value).sum()
    }

    pub fn values_of(&self, label: &str) -> BTreeSet<String> {
        self.samples.iter().filter_map(|sample| sample.labels.get(label).cloned()).collect()
    }

    /// The family that a sample is of.
    fn family(&self, sample: &str) -> Option<&str> {
        let is = |name: &str, kind: &str| self.kinds.get(name).is_some_and(|known| known == kind);
        if let Some((name, _)) = self.kinds.get_key_value(sample) {
            return Some(name);
        }
        ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
            let name = sample.strip_suffix(suffix)?;
            is(name, "histogram").then(|| self.kinds.get_key_value(name).map(|(name, _)| name.as_str()))?
        })
    }
}

/// Reads a page.
///
/// # Errors
/// The line that is wrong, and why.
pub fn read(text: &str) -> Result<Page, String> {
    if !text.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    let mut page = Page::default();
    let (mut helped, mut ended, mut current) = (BTreeSet::new(), BTreeSet::new(), String::new());
    for line in text.lines() {
        let wrong = |why: &str| format!("{why}: {line}");
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or_else(|| wrong("HELP without text"))?;
            if !is_name(name) || help.trim().is_empty() || !helped.insert(name.to_owned()) {
                return Err(wrong("a HELP of no name, empty or twice"));
            }
            // What is escaped in it are line feeds and backslashes.
            if help.replace("\\\\", "").replace("\\n", "").contains('\\') {
                return Err(wrong("a bad escape in a HELP"));
            }
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or_else(|| wrong("TYPE without kind"))?;
            if !["counter", "gauge", "histogram"].contains(&kind) || !helped.contains(name) {
                return Err(wrong("a TYPE of no kind, or without HELP"));
            }
            if page.kinds.insert(name.to_owned(), kind.to_owned()).is_some() {
                return Err(wrong("a TYPE twice"));
            }
            if (kind == "counter") != name.ends_with("_total") {
                return Err(wrong("counters and only they end in _total"));
            }
            if ["_bucket", "_sum", "_count", "_info"].iter().any(|end| name.ends_with(end)) && name != INFO {
                return Err(wrong("an ending that means something else"));
            }
            if name.split('_').any(|word| NO_UNITS.contains(&word)) {
                return Err(wrong("units are seconds and bytes"));
            }
        } else {
            let sample = read_sample(line).map_err(|why| wrong(&why))?;
            let family = page.family(&sample.name).ok_or_else(|| wrong("a sample of no family"))?.to_owned();
            if family != current {
                if !ended.insert(family.clone()) {
                    return Err(wrong("a family in two places"));
                }
                current = family;
            }
            page.samples.push(sample);
        }
    }
    if let Some(name) = helped.iter().find(|name| !page.kinds.contains_key(*name)) {
        return Err(format!("a HELP without TYPE: {name}"));
    }
    check(&page)?;
    Ok(page)
}

/// A gauge that is always 1, as Prometheus has it.
const INFO: &str = "stonescriptdb_info";
/// What names of figures may not measure in: Prometheus's base units are seconds and bytes.
const NO_UNITS: [&str; 14] = [
    "ms",
    "us",
    "ns",
    "sec",
    "secs",
    "milliseconds",
    "microseconds",
    "minutes",
    "hours",
    "days",
    "kb",
    "mb",
    "kilobytes",
    "megabytes",
];

fn is_name(name: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(first) && name.bytes().all(|byte| first(byte) || byte.is_ascii_digit())
}

fn read_sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let name = line[..end].to_owned();
    if !is_name(&name) {
        return Err("a bad name".to_owned());
    }
    let mut rest = &line[end..];
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        let mut inside = inside;
        loop {
            let (label, value) = inside.split_once("=\"").ok_or("a label without value")?;
            if !is_name(label) {
                return Err(format!("a bad label {label}"));
            }
            let (value, after) = read_value(value)?;
            if value.is_empty() || labels.insert(label.to_owned(), value).is_some() {
                return Err(format!("the label {label} is empty or comes twice"));
            }
            if let Some(next) = after.strip_prefix(',') {
                inside = next;
                continue;
            }
            rest = after.strip_prefix('}').ok_or("labels without end")?;
            break;
        }
    }
    let number = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let value: f64 = number.parse().map_err(|_| "no number")?;
    if value.is_nan() || number.contains(' ') {
        return Err("no number".to_owned());
    }
    Ok(Sample { name, labels, value })
}

/// The value up to its closing quote, and what follows.
fn read_value(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((place, one)) = chars.next() {
        match one {
            '"' => return Ok((value, &text[place + 1..])),
            '\\' => value.push(match chars.next().map(|(_, escaped)| escaped) {
                Some('n') => '\n',
                Some(escaped @ ('\\' | '"')) => escaped,
                _ => return Err("a bad escape".to_owned()),
            }),
            other => value.push(other),
        }
    }
    Err("a value without end".to_owned())
}

fn check(page: &Page) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    let mut buckets: BTreeMap<(String, Labels), Vec<(f64, f64)>> = BTreeMap::new();
    for sample in &page.samples {
        if !seen.insert((&sample.name, &sample.labels)) {
            return Err(format!("a sample twice: {sample:?}"));
        }
        let kind = page.family(&sample.name).and_then(|family| page.kinds.get(family)).map(String::as_str);
        if kind != Some("gauge") && sample.value < 0.0 {
            return Err(format!("less than nothing: {sample:?}"));
        }
        let is_bucket = kind == Some("histogram") && sample.name.ends_with("_bucket");
        if sample.labels.contains_key("le") != is_bucket {
            return Err(format!("le is for buckets: {sample:?}"));
        }
        if let (Some("histogram"), Some(name)) = (kind, sample.name.strip_suffix("_bucket")) {
            let mut labels = sample.labels.clone();
            let end = labels.remove("le").ok_or("a bucket without le")?;
            let end = end.replace("+Inf", "inf").parse().map_err(|_| format!("le is {end}"))?;
            buckets.entry((name.to_owned(), labels)).or_default().push((end, sample.value));
        }
    }
    // Of each histogram that is counted there are buckets and a sum.
    for name in page.kinds.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
        let of = |end: &str| -> BTreeSet<Labels> {
            let is = |sample: &&Sample| sample.name.strip_suffix(end) == Some(name);
            page.samples.iter().filter(is).map(|sample| sample.labels.clone()).collect()
        };
        let whole: BTreeSet<Labels> =
            buckets.keys().filter(|(of, _)| of == name).map(|(_, labels)| labels.clone()).collect();
        if whole != of("_sum") || whole != of("_count") {
            return Err(format!("buckets, sums and counts of {name} are not of the same"));
        }
    }
    for ((name, labels), buckets) in buckets {
        let grows = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let (end, all) = *buckets.last().ok_or("no buckets")?;
        let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if !grows || end != f64::INFINITY || page.sum(&format!("{name}_count"), &labels) != all {
            return Err(format!("the buckets of {name} {labels:?} do not add up: {buckets:?}"));
        }
    }
    Ok(())
}

#[test]
fn the_reader_is_strict() {
    let head = "# HELP a_total A.\n# TYPE a_total counter\n";
    assert_eq!(
        read(&format!("{head}a_total{{x=\"1\\\\\\\"\\n\"}} 1\n")).expect("right").samples[0].labels["x"],
        "1\\\"\n"
    );
    for wrong in [
        "a_total 1",
        "a_total{x=\"1\"} 1\na_total{x=\"1\"} 2\n",
        "a_total -1\n",
        "a_total NaN\n",
        "b_total 1\n",
        "a_total{x=1} 1\n",
        "a_total{x=\"1} 1\n",
        "a_total{1x=\"1\"} 1\n",
        "# TYPE a_total counter\n",
        "a_total 1\n# HELP b B.\n",
        "# HELP b_count B.\n# TYPE b_count gauge\n",
        "# HELP b_ms B.\n# TYPE b_ms gauge\n",
        "# HELP b B\\t.\n# TYPE b gauge\n",
        "a_total{le=\"1\"} 1\n",
    ] {
        assert!(read(&format!("{head}{wrong}")).is_err(), "{wrong}");
    }
    let head = "# HELP h H.\n# TYPE h histogram\n";
    let right = "h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n";
    read(&format!("{head}{right}")).expect("right");
    for (from, to) in [
        ("le=\"1\"} 1", "le=\"1\"} 3"),
        ("+Inf", "2"),
        ("count 2", "count 3"),
        ("h_sum 3\n", ""),
        ("h_count", "h_count{a=\"1\"}"),
    ] {
        assert!(read(&format!("{head}{}", right.replace(from, to))).is_err(), "{to}");
    }
}

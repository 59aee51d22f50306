//! One spelling for what the server writes in two ways.
//!
//! `a IN ('x', 'y')` on a varchar column is written back as `(ARRAY['x'::character varying, 'y'::character varying])::text[]`; that text,
//! run again, as `ARRAY[('x'::character varying)::text, ('y'::character varying)::text]` (parse_expr.c distributes a cast over the
//! elements of an ARRAY). Plans run such texts, so a catalog that was made by one and its model would never agree. The second form is
//! stable, and is taken for both.

use std::borrow::Cow;

/// Distributes every cast of an ARRAY to an array type over its elements. Literals, quoted names and bodies in dollar quotes are left
/// alone.
pub(super) fn settled(text: &str) -> Cow<'_, str> {
    const START: &str = "(ARRAY[";
    if !text.contains(START) {
        return Cow::Borrowed(text);
    }
    let mut result = text.to_owned();
    // Each turn takes one cast away; what is inside an element is reached in a later one.
    while let Some(next) = settled_once(&result) {
        result = next;
    }
    Cow::Owned(result)
}

fn settled_once(text: &str) -> Option<String> {
    let mut at = 0;
    while at < text.len() {
        let rest = text.get(at..)?;
        let skipped = opaque(rest);
        if skipped > 0 {
            at += skipped;
            continue;
        }
        if rest.starts_with("(ARRAY[")
            && let Some((length, replacement)) = distributed(rest)
        {
            return Some(format!("{}{replacement}{}", text.get(..at)?, text.get(at + length..)?));
        }
        at += rest.chars().next()?.len_utf8();
    }
    None
}

/// Takes `(ARRAY[a, b])::t[]` from the start of a text; gives its length and `ARRAY[(a)::t, (b)::t]`.
fn distributed(text: &str) -> Option<(usize, String)> {
    let open = "(ARRAY[".len();
    let (elements, end) = elements(text.get(open..)?)?;
    let behind = text.get(open + end..)?.strip_prefix("])::")?;
    let data_type = type_name(behind)?;
    let element_type = data_type.strip_suffix("[]")?;
    let cast: Vec<String> = elements
        .iter()
        .map(|element| match element.starts_with("ARRAY[") {
            // A further dimension: its elements get the cast, in the next turn.
            true => format!("({element})::{data_type}"),
            false => format!("({element})::{element_type}"),
        })
        .collect();
    let length = open + end + "])::".len() + data_type.len();
    Some((length, format!("ARRAY[{}]", cast.join(", "))))
}

/// The elements up to the bracket that closes the array, and the byte of that bracket.
fn elements(text: &str) -> Option<(Vec<&str>, usize)> {
    let mut depth = 0usize;
    let mut start = 0;
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = text.get(at..)?;
        let skipped = opaque(rest);
        if skipped > 0 {
            at += skipped;
            continue;
        }
        match rest.chars().next()? {
            '(' | '[' => depth += 1,
            ']' if depth == 0 => {
                let last = text.get(start..at)?;
                if !last.trim().is_empty() || !found.is_empty() {
                    found.push(last.trim());
                }
                return Some((found, at));
            }
            ')' | ']' => depth = depth.checked_sub(1)?,
            ',' if depth == 0 => {
                found.push(text.get(start..at)?.trim());
                start = at + 1;
            }
            _ => {}
        }
        at += rest.chars().next()?.len_utf8();
    }
    None
}

/// The type at the start of a text, with its brackets: `text[]`, `character varying(10)[]`, `public."My Type"[]`.
fn type_name(text: &str) -> Option<&str> {
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        if rest.starts_with("[]") {
            return text.get(..at + 2);
        }
        let skipped = opaque(rest);
        if skipped > 0 {
            at += skipped;
            continue;
        }
        match rest.chars().next()? {
            c if c.is_alphanumeric() || matches!(c, '_' | '.' | ' ' | '(' | ')' | ',' | '$') => at += c.len_utf8(),
            _ => return None,
        }
    }
    None
}

/// Bytes of a literal, quoted name or dollar-quoted text at the start of a text; 0 if there is none.
fn opaque(text: &str) -> usize {
    let quoted = |quote: char| -> usize {
        let mut characters = text.char_indices().skip(1).peekable();
        while let Some((at, c)) = characters.next() {
            if c == quote {
                match characters.peek() {
                    Some((_, next)) if *next == quote => {
                        characters.next();
                    }
                    _ => return at + c.len_utf8(),
                }
            }
        }
        text.len()
    };
    match text.chars().next() {
        // The server writes backslashes as E'…' with both doubled, so that no quote follows a single one.
        Some('\'') => quoted('\''),
        Some('"') => quoted('"'),
        Some('$') => {
            let tag = text.get(1..).and_then(|rest| rest.split_once('$')).map(|(tag, _)| tag);
            match tag {
                Some(tag) if tag.chars().all(|c| c.is_alphanumeric() || c == '_') => {
                    let mark = format!("${tag}$");
                    let body = text.get(mark.len()..).unwrap_or_default();
                    body.find(&mark).map_or(text.len(), |end| 2 * mark.len() + end)
                }
                _ => 0,
            }
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::settled;

    #[test]
    fn a_cast_of_an_array_goes_to_its_elements() {
        for (written, settles_as) in [
            (
                "CHECK (((a)::text = ANY ((ARRAY['x'::character varying, 'y'::character varying])::text[])))",
                "CHECK (((a)::text = ANY (ARRAY[('x'::character varying)::text, ('y'::character varying)::text])))",
            ),
            (
                "((c)::integer = ANY ((ARRAY[(0)::public.d0, (42)::public.d0])::integer[]))",
                "((c)::integer = ANY (ARRAY[((0)::public.d0)::integer, ((42)::public.d0)::integer]))",
            ),
            (
                "(ARRAY['a]'::text, 'b''[,'::text])::character varying(3)[]",
                "ARRAY[('a]'::text)::character varying(3), ('b''[,'::text)::character varying(3)]",
            ),
            (
                "((ARRAY[ARRAY[1, 2], ARRAY[f(1, 2), 3]])::bigint[])",
                "(ARRAY[ARRAY[(1)::bigint, (2)::bigint], ARRAY[(f(1, 2))::bigint, (3)::bigint]])",
            ),
            ("ARRAY[1, 2]", "ARRAY[1, 2]"),
            ("'(ARRAY[1])::text[]'::text", "'(ARRAY[1])::text[]'::text"),
            ("AS $f$ SELECT (ARRAY[1])::text[] $f$", "AS $f$ SELECT (ARRAY[1])::text[] $f$"),
            ("(ARRAY[1, 2])[1]", "(ARRAY[1, 2])[1]"),
            ("(ARRAY[1", "(ARRAY[1"),
        ] {
            assert_eq!(settled(written), settles_as);
            assert_eq!(settled(settles_as), settles_as);
        }
    }
}

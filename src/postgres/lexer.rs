//! The server's own lexer (scan.l), for checksums that see what PostgreSQL sees and for the places of things in a file.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;
use sha2::{Digest, Sha256};

use super::error::{PgError, catch};

/// What a token is. `Keyword` and `Identifier` are folded to lower case as PostgreSQL folds them; a literal keeps every byte.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Token {
    Keyword(String),
    Identifier(String),
    /// A string, whatever its quotes: what it says.
    Text(String),
    /// A number, bit string, operator or parameter, or what is quoted with U&, as class and text.
    Other(u8, String),
}

/// A token, the byte of the text at which it starts, and the one behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Placed {
    pub(crate) token: Token,
    pub(crate) at: usize,
    pub(crate) end: usize,
}

// The first tokens of gram.y, whose numbers are the same in every version: plpgsql's grammar relies on it too.
const IDENT: i32 = 258;
const UIDENT: i32 = 259;
const SCONST: i32 = 261;
const USCONST: i32 = 262;
const OP: i32 = 265;
const ICONST: i32 = 266;
const PARAM: i32 = 267;
const NOT_EQUALS: i32 = 274;

/// Lexes a whole text.
///
/// # Errors
/// 42601 with the position, for an unterminated literal or comment.
pub(crate) fn tokens(text: &str) -> Result<Vec<Placed>, PgError> {
    let source = CString::new(text).map_err(|_| PgError::new("22021", "the text contains a zero byte"))?;
    let mut found = Vec::new();
    catch(|| {
        // SAFETY: the scanner keeps a copy of the text; its memory is the current context's. `extra` outlives the scanner.
        unsafe {
            let mut extra = pg_sys::core_yy_extra_type::default();
            let scanner = pg_sys::scanner_init(
                source.as_ptr(),
                &mut extra,
                &raw const pg_sys::ScanKeywords,
                pg_sys::ScanKeywordTokens.as_ptr(),
            );
            loop {
                let mut value = pg_sys::core_YYSTYPE { ival: 0 };
                let mut location = 0;
                let code = pg_sys::core_yylex(&mut value, &mut location, scanner);
                if code == 0 {
                    break;
                }
                let at = usize::try_from(location).unwrap_or(0);
                let token = token(code, &value, text.as_bytes().get(at..).unwrap_or_default());
                // Behind what it has read flex puts a zero, until it goes on; pl_scanner.c relies on it too.
                let length = CStr::from_ptr(extra.scanbuf.add(at)).to_bytes().len();
                found.push(Placed { token, at, end: at + length });
            }
            pg_sys::scanner_finish(scanner);
        }
    })?;
    Ok(found)
}

/// # Safety
/// `value` must be what core_yylex gave with `code`.
unsafe fn token(code: i32, value: &pg_sys::core_YYSTYPE, rest: &[u8]) -> Token {
    // SAFETY: which member of the union is set follows from the code (scanner.h).
    unsafe {
        match code {
            IDENT => Token::Identifier(super::error::text(value.str_).unwrap_or_default()),
            SCONST => Token::Text(super::error::text(value.str_).unwrap_or_default()),
            // What U&'\0061' says is decided by the grammar, which knows of a UESCAPE behind it: here it is what is written, and not the
            // same as '\0061'.
            UIDENT | USCONST | 260..=OP => {
                Token::Other((code - IDENT) as u8, super::error::text(value.str_).unwrap_or_default())
            }
            ICONST | PARAM => Token::Other((code - IDENT) as u8, value.ival.to_string()),
            // Operators of two characters that have tokens of their own; the number tells which.
            268..=NOT_EQUALS => Token::Other((code - IDENT) as u8, String::new()),
            1..=255 => Token::Other(0, char::from(code as u8).to_string()),
            _ => {
                let word = super::error::text(value.keyword).unwrap_or_else(|| {
                    String::from_utf8_lossy(rest).chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
                });
                Token::Keyword(word)
            }
        }
    }
}

/// Version of the checksum's rule, in front of every one: a checksum of another rule (the standalone gateway's has no prefix) never
/// equals one of this.
const CHECKSUM_VERSION: &str = "t1:";

/// SHA-256 over the tokens: blind to white space, comments, keyword case and line endings, never to what is inside a literal. Bodies
/// of SQL and PL/pgSQL are lexed too.
///
/// # Errors
/// As [`tokens`].
pub(crate) fn checksum(text: &str) -> Result<String, PgError> {
    let placed = tokens(text)?;
    let mut hash = Sha256::new();
    for statement in placed.split_inclusive(|placed| placed.token == Token::Other(0, ";".to_owned())) {
        let body = body_index(statement);
        for (index, Placed { token, .. }) in statement.iter().enumerate() {
            match token {
                Token::Text(text) if Some(index) == body => hash_body(&mut hash, text),
                other => hash_token(&mut hash, other),
            }
        }
    }
    let digest = hash.finalize();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{CHECKSUM_VERSION}{hex}"))
}

fn hash_token(hash: &mut Sha256, token: &Token) {
    let (class, text) = match token {
        Token::Keyword(text) => (b'k', text),
        Token::Identifier(text) => (b'i', text),
        Token::Text(text) => (b't', text),
        Token::Other(class, text) => (128 + class, text),
    };
    hash.update([class]);
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text);
}

fn hash_body(hash: &mut Sha256, body: &str) {
    match tokens(body) {
        Ok(inner) => {
            hash.update([b'{']);
            inner.iter().for_each(|placed| hash_token(hash, &placed.token));
            hash.update([b'}']);
        }
        // Not lexable as SQL: every byte counts.
        Err(_) => hash_token(hash, &Token::Text(body.to_owned())),
    }
}

/// Where among a statement's tokens the body of a SQL or PL/pgSQL function or DO block is.
pub(crate) fn body_index(statement: &[Placed]) -> Option<usize> {
    let keyword = |token: &Token, word: &str| matches!(token, Token::Keyword(k) if k == word);
    let first = &statement.first()?.token;
    let is_do = keyword(first, "do");
    let is_function = keyword(first, "create")
        && statement.iter().take(4).any(|p| keyword(&p.token, "function") || keyword(&p.token, "procedure"));
    if !is_do && !is_function {
        return None;
    }
    // Parameters and types may have the name too; where another language may be meant, every byte counts.
    let languages = || {
        statement.windows(2).filter_map(|pair| match pair {
            [before, named] if keyword(&before.token, "language") => Some(&named.token),
            _ => None,
        })
    };
    let is_lexed = |token: &Token| match token {
        Token::Identifier(name) | Token::Text(name) | Token::Keyword(name) => {
            name.eq_ignore_ascii_case("sql") || name.eq_ignore_ascii_case("plpgsql")
        }
        _ => false,
    };
    if !languages().all(is_lexed) || languages().next().is_none() && !is_do {
        return None;
    }
    if is_do {
        return statement.iter().position(|p| matches!(p.token, Token::Text(_)));
    }
    let after_as = statement
        .windows(2)
        .position(|pair| matches!(pair, [a, b] if keyword(&a.token, "as") && matches!(b.token, Token::Text(_))))?;
    Some(after_as + 1)
}

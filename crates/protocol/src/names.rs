//! From the names that callers send to the names of databases.

/// The tenant that stands for the platform itself.
pub const MAIN_TENANT: &str = "main";

/// PostgreSQL's NAMEDATALEN less the terminating zero, in bytes.
const MAX_NAME: usize = 63;

/// A name that cannot become part of a database's name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing is left of it.
    #[error("the {what} \"{name}\" has no letter or digit in it")]
    Empty {
        /// What the name names.
        what: &'static str,
        /// The name as sent.
        name: String,
    },
    /// PostgreSQL would cut it off.
    #[error("the database name \"{0}\" has {len} bytes, over the {MAX_NAME} that PostgreSQL allows", len = .0.len())]
    TooLong(String),
}

/// A name as it was written, and its sanitised form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Named {
    /// As the caller wrote it.
    pub written: String,
    /// What [`sanitise`] makes of it; never empty.
    pub key: String,
}

impl Named {
    /// Sanitises a name. `what` says in an error what it names: "platform", "tenant".
    ///
    /// # Errors
    /// [`NameError::Empty`] when no character of it is a letter, a digit or an inner underscore.
    pub fn new(what: &'static str, written: &str) -> Result<Named, NameError> {
        let key = sanitise(written);
        if key.is_empty() {
            return Err(NameError::Empty { what, name: written.chars().take(MAX_NAME).collect() });
        }
        Ok(Named { written: written.to_owned(), key })
    }
}

/// ASCII letters lower-cased, digits and `_` kept, every other character `_`, outer `_` trimmed.
pub fn sanitise(name: &str) -> String {
    let mapped: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    mapped.trim_matches('_').to_owned()
}

/// Whether a tenant as sent is the platform's own database: absent, empty, `null` or `main`.
pub fn is_main(tenant: Option<&str>) -> bool {
    matches!(tenant, None | Some("" | "null" | MAIN_TENANT))
}

/// Whether a name is a UUID, with `_` for `-` too: clients write the ids of databases in both ways and mean the same one.
pub fn is_uuid(name: &str) -> bool {
    name.len() == 36
        && name.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => matches!(byte, b'-' | b'_'),
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The database of a platform's tenant, from sanitised names: `shop_main`, `shop_acme`.
///
/// # Errors
/// [`NameError::TooLong`] over 63 bytes: PostgreSQL would cut the name off, and two tenants could meet in one database.
pub fn database_name(platform_key: &str, tenant_key: &str) -> Result<String, NameError> {
    let name = format!("{platform_key}_{tenant_key}");
    if name.len() > MAX_NAME { Err(NameError::TooLong(name)) } else { Ok(name) }
}

/// A database of a stored schema, from sanitised names: `shop_store_42`, `shop_store` without an id.
///
/// # Errors
/// As [`database_name`].
pub fn stored_database_name(platform_key: &str, schema_key: &str, tenant_key: &str) -> Result<String, NameError> {
    match tenant_key {
        MAIN_TENANT => database_name(platform_key, schema_key),
        id => database_name(&format!("{platform_key}_{schema_key}"), id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sanitising_keeps_letters_digits_and_inner_underscores() {
        assert_eq!(sanitise("My-Shop.2"), "my_shop_2");
        assert_eq!(sanitise("__a__"), "a");
        assert_eq!(sanitise("é"), "");
        assert_eq!(sanitise("a é b"), "a___b");
        assert_eq!(sanitise("550e8400-e29b"), "550e8400_e29b");
    }

    #[test]
    fn a_name_of_nothing_is_refused() {
        assert_eq!(
            Named::new("platform", "--").unwrap_err().to_string(),
            "the platform \"--\" has no letter or digit in it"
        );
    }

    #[test]
    fn main_has_four_spellings() {
        for tenant in [None, Some(""), Some("null"), Some("main")] {
            assert!(is_main(tenant));
        }
        assert!(!is_main(Some("Main")));
        assert!(!is_main(Some("acme")));
    }

    #[test]
    fn uuids_are_told_by_their_shape() {
        assert!(is_uuid("3f2504e0-4f89-41d3-9a0c-0305e82c3301"));
        assert!(is_uuid("3F2504E0_4f89_41d3_9a0c_0305e82c3301"));
        assert!(!is_uuid("3f2504e0.4f89.41d3.9a0c.0305e82c3301"));
        assert!(!is_uuid("acme"));
    }

    #[test]
    fn databases_of_stored_schemas_have_the_schema_in_their_names() {
        assert_eq!(stored_database_name("shop", "store", "42").unwrap(), "shop_store_42");
        assert_eq!(stored_database_name("shop", "store", "main").unwrap(), "shop_store");
    }

    #[test]
    fn database_names_end_at_63_bytes() {
        assert_eq!(database_name("shop", "acme").unwrap(), "shop_acme");
        assert!(database_name(&"p".repeat(31), &"t".repeat(31)).is_ok());
        assert!(database_name(&"p".repeat(32), &"t".repeat(31)).is_err());
    }
}

/// The OIDs of databases.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Oids(
    /// In their order.
    Vec<u32>,
);

impl Oids {
    /// Whether this is one of them.
    pub fn contains(&self, oid: u32) -> bool {
        self.0.binary_search(&oid).is_ok()
    }
}

impl FromIterator<u32> for Oids {
    fn from_iter<I: IntoIterator<Item = u32>>(oids: I) -> Oids {
        let mut oids: Vec<u32> = oids.into_iter().collect();
        oids.sort_unstable();
        oids.shrink_to_fit();
        Oids(oids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oids_are_found() {
        let oids: Oids = [7, 3, 5].into_iter().collect();
        assert!(oids.contains(3) && oids.contains(7) && !oids.contains(4));
    }
}

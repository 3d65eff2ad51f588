//! The numbered statements of the two standards: which there are, and whom they bind.

use std::fmt;

/// A standard with numbered statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    V3_1_1,
    V5,
}

/// In the order of the table.
pub(super) const VERSIONS: [Version; 2] = [Version::V5, Version::V3_1_1];

/// One numbered statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Statement {
    pub(super) version: Version,
    section: [u8; 3],
    number: u8,
}

/// A section, and the numbers of its first and its last statement.
type Section = ([u8; 3], u8, u8);

impl Version {
    /// What a line of documentation begins with.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::V5 => "v5:",
            Self::V3_1_1 => "v3.1.1:",
        }
    }

    fn sections(self) -> &'static [Section] {
        match self {
            Self::V5 => V5,
            Self::V3_1_1 => V3_1_1,
        }
    }

    /// All statements in their order.
    pub(super) fn statements(self) -> impl Iterator<Item = Statement> {
        self.sections().iter().flat_map(move |&(section, first, last)| {
            (first..=last).map(move |number| Statement { version: self, section, number })
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V5 => "5.0",
            Self::V3_1_1 => "3.1.1",
        })
    }
}

impl Statement {
    /// Reads `MQTT-3.1.2-22`.
    pub(super) fn parse(version: Version, id: &str) -> Result<Self, String> {
        let unknown = || format!("MQTT {version} has no statement `{id}`");
        let (section, number) = id.strip_prefix("MQTT-").and_then(|id| id.split_once('-')).ok_or_else(unknown)?;
        let levels: Vec<u8> = section.split('.').filter_map(|level| level.parse().ok()).collect();
        let section = <[u8; 3]>::try_from(levels).map_err(|_| unknown())?;
        let statement = Self { version, section, number: number.parse().map_err(|_| unknown())? };
        if version.statements().any(|known| known == statement) { Ok(statement) } else { Err(unknown()) }
    }

    /// Whether a server can neither keep nor break it.
    pub(super) fn is_for_clients(self) -> bool {
        let list = match self.version {
            Version::V5 => V5_OF_CLIENTS,
            Version::V3_1_1 => V3_1_1_OF_CLIENTS,
        };
        list.iter().any(|(section, numbers)| *section == self.section && numbers.contains(&self.number))
    }

    /// Why there is nothing here that the statement speaks of.
    pub(super) fn reason_absent(self) -> Option<&'static str> {
        WITHOUT_OBJECT
            .iter()
            .find(|(version, section, numbers, _)| {
                (*version, *section) == (self.version, self.section) && numbers.contains(&self.number)
            })
            .map(|(.., reason)| *reason)
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.section;
        write!(f, "MQTT-{a}.{b}.{c}-{}", self.number)
    }
}

/// 5.0, 7 March 2019. The one statement of section 4.2 is written `4.2-1` there, `4.2.0-1` here.
const V5: &[Section] = &[
    ([1, 5, 4], 1, 3),
    ([1, 5, 5], 1, 1),
    ([1, 5, 7], 1, 1),
    ([2, 1, 3], 1, 1),
    ([2, 2, 1], 2, 6),
    ([2, 2, 2], 1, 1),
    ([3, 1, 0], 1, 2),
    ([3, 1, 2], 1, 30),
    ([3, 1, 3], 1, 12),
    ([3, 1, 4], 1, 6),
    ([3, 2, 0], 1, 2),
    ([3, 2, 2], 1, 22),
    ([3, 3, 1], 1, 13),
    ([3, 3, 2], 1, 20),
    ([3, 3, 4], 1, 10),
    ([3, 4, 2], 1, 3),
    ([3, 5, 2], 1, 3),
    ([3, 6, 1], 1, 1),
    ([3, 6, 2], 1, 3),
    ([3, 7, 2], 1, 3),
    ([3, 8, 1], 1, 1),
    ([3, 8, 3], 1, 5),
    ([3, 8, 4], 1, 8),
    ([3, 9, 2], 1, 2),
    ([3, 9, 3], 1, 2),
    ([3, 10, 1], 1, 1),
    ([3, 10, 3], 1, 2),
    ([3, 10, 4], 1, 6),
    ([3, 11, 2], 1, 2),
    ([3, 11, 3], 1, 2),
    ([3, 12, 4], 1, 1),
    ([3, 14, 0], 1, 1),
    ([3, 14, 1], 1, 1),
    ([3, 14, 2], 1, 4),
    ([3, 14, 4], 1, 3),
    ([3, 15, 1], 1, 1),
    ([3, 15, 2], 1, 3),
    ([4, 1, 0], 1, 2),
    ([4, 2, 0], 1, 1),
    ([4, 3, 1], 1, 1),
    ([4, 3, 2], 1, 5),
    ([4, 3, 3], 1, 13),
    ([4, 4, 0], 1, 2),
    ([4, 5, 0], 1, 2),
    ([4, 6, 0], 1, 6),
    ([4, 7, 0], 1, 1),
    ([4, 7, 1], 1, 2),
    ([4, 7, 2], 1, 1),
    ([4, 7, 3], 1, 4),
    ([4, 8, 2], 1, 6),
    ([4, 9, 0], 1, 3),
    ([4, 12, 0], 1, 7),
    ([4, 12, 1], 1, 2),
    ([4, 13, 1], 1, 1),
    ([4, 13, 2], 1, 1),
    ([6, 0, 0], 1, 4),
];

/// 3.1.1, 29 October 2014, with errata.
const V3_1_1: &[Section] = &[
    ([1, 5, 3], 1, 3),
    ([2, 2, 2], 1, 2),
    ([2, 3, 1], 1, 7),
    ([3, 1, 0], 1, 2),
    ([3, 1, 2], 1, 24),
    ([3, 1, 3], 1, 11),
    ([3, 1, 4], 1, 5),
    ([3, 2, 0], 1, 1),
    ([3, 2, 2], 1, 6),
    ([3, 3, 1], 1, 12),
    ([3, 3, 2], 1, 3),
    ([3, 3, 4], 1, 1),
    ([3, 3, 5], 1, 2),
    ([3, 6, 1], 1, 1),
    ([3, 8, 1], 1, 1),
    ([3, 8, 3], 1, 4),
    ([3, 8, 4], 1, 6),
    ([3, 9, 3], 1, 2),
    ([3, 10, 1], 1, 1),
    ([3, 10, 3], 1, 2),
    ([3, 10, 4], 1, 6),
    ([3, 12, 4], 1, 1),
    ([3, 14, 1], 1, 1),
    ([3, 14, 4], 1, 3),
    ([4, 1, 0], 1, 2),
    ([4, 2, 0], 1, 1),
    ([4, 3, 1], 1, 1),
    ([4, 3, 2], 1, 2),
    ([4, 3, 3], 1, 2),
    ([4, 4, 0], 1, 1),
    ([4, 5, 0], 1, 2),
    ([4, 6, 0], 1, 6),
    ([4, 7, 1], 1, 3),
    ([4, 7, 2], 1, 1),
    ([4, 7, 3], 1, 4),
    ([4, 8, 0], 1, 2),
    ([6, 0, 0], 1, 4),
];

/// What a client does by itself and no server can see or refuse. A statement about clients that a server checks is
/// not here.
const V5_OF_CLIENTS: &[([u8; 3], &[u8])] = &[
    ([3, 1, 2], &[20, 21, 30]),
    ([3, 2, 2], &[4, 5, 11, 14, 17, 18, 21]),
    ([3, 3, 2], &[10]),
    ([3, 3, 4], &[8]),
    ([4, 5, 0], &[2]),
    ([4, 6, 0], &[1, 2, 3, 4]),
    ([4, 12, 0], &[3]),
    ([6, 0, 0], &[3]),
];

const V3_1_1_OF_CLIENTS: &[([u8; 3], &[u8])] = &[
    ([2, 3, 1], &[2, 3]),
    ([3, 1, 2], &[23]),
    ([3, 14, 4], &[1, 2]),
    ([4, 5, 0], &[2]),
    ([4, 6, 0], &[1, 2, 3, 4]),
    ([6, 0, 0], &[3]),
];

/// Statements about a server that lacks something which this one has.
const WITHOUT_OBJECT: &[(Version, [u8; 3], &[u8], &str)] = &[
    (Version::V5, [3, 9, 2], &[2], "SUBACK is sent without user properties"),
    (Version::V5, [3, 11, 2], &[2], "UNSUBACK is sent without user properties"),
    (Version::V3_1_1, [3, 8, 3], &[2], "wildcards are supported"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_it_is_read() {
        for version in VERSIONS {
            for statement in version.statements() {
                assert_eq!(Statement::parse(version, &statement.to_string()), Ok(statement));
            }
        }
    }

    #[test]
    fn whom_a_statement_binds_is_said_of_statements_that_exist() {
        let known = |version: Version, section: [u8; 3], number: u8| {
            assert!(version.statements().any(|s| s == Statement { version, section, number }), "{section:?} {number}");
        };
        for (version, list) in [(Version::V5, V5_OF_CLIENTS), (Version::V3_1_1, V3_1_1_OF_CLIENTS)] {
            for (section, numbers) in list {
                numbers.iter().for_each(|&number| known(version, *section, number));
            }
        }
        for (version, section, numbers, _) in WITHOUT_OBJECT {
            numbers.iter().for_each(|&number| known(*version, *section, number));
        }
    }
}

//! What differs between two texts, line by line.

/// Beyond this the texts are shown one after the other: the table of a diff grows with both lengths.
const CELLS_MAX: usize = 4_000_000;
/// Lines shown around a difference.
const CONTEXT: usize = 2;

/// Lines with `-` are only in `expected`, those with `+` only in `came`; nothing when the texts are equal.
pub fn lines(expected: &str, came: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), came.lines().collect());
    if old == new {
        return String::new();
    }
    let marked = mark(&old, &new);
    let mut text = String::new();
    let mut skipped = false;
    for (place, (sign, line)) in marked.iter().enumerate() {
        let first = place.saturating_sub(CONTEXT);
        let near = marked.iter().skip(first).take(place + CONTEXT + 1 - first);
        if near.into_iter().all(|(sign, _)| *sign == ' ') {
            skipped = true;
            continue;
        }
        if std::mem::take(&mut skipped) {
            text.push_str("  …\n");
        }
        text.push_str(&format!("{sign} {line}\n"));
    }
    text
}

fn mark<'t>(old: &[&'t str], new: &[&'t str]) -> Vec<(char, &'t str)> {
    if old.len().saturating_mul(new.len()) > CELLS_MAX {
        let removed = old.iter().map(|line| ('-', *line));
        return removed.chain(new.iter().map(|line| ('+', *line))).collect();
    }
    // The length of the longest common rest from (i, j) on.
    let width = new.len() + 1;
    let mut common = vec![0u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i * width + j] = if old[i] == new[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut marked) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            marked.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j >= new.len()
            || (i < old.len() && common[(i + 1) * width + j] >= common[i * width + j + 1])
        {
            marked.push(('-', old[i]));
            i += 1;
        } else {
            marked.push(('+', new[j]));
            j += 1;
        }
    }
    marked
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_difference_is_shown_with_what_stands_around_it() {
        assert_eq!(super::lines("a\nb\n", "a\nb\n"), "");
        assert_eq!(
            super::lines("1\n2\n3\n4\n5\n6\n7\n", "1\n2\n3\n4\nfive\n6\n7\n8\n"),
            "  …\n  3\n  4\n- 5\n+ five\n  6\n  7\n+ 8\n"
        );
    }
}

package spec

// Nearest is the word of known that was most likely meant by one that is not
// among them; empty where none is like it. A slip is a letter that is missing,
// too many or another, or two that changed places: one of them in a word of up
// to five letters, two in a longer one.
func Nearest(word string, known []string) string {
	if len(word) > 64 {
		return ""
	}
	best, fewest := "", 1
	if len(word) > 5 {
		fewest = 2
	}
	for _, k := range known {
		if n := slips(word, k); n > 0 && (n < fewest || n == fewest && best == "") {
			best, fewest = k, n
		}
	}
	return best
}

// slips counts those between two words; see Nearest.
func slips(a, b string) int {
	var before, last []int // the rows above, for what ends two and one letters earlier
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			other := last[j]
			if a[i] != b[j] {
				other++
			}
			row[j+1] = min(other, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}

// likely is a hint that begins with the word that was most likely meant, where
// there is one.
func likely(word string, known []string, hint string) string {
	if n := Nearest(word, known); n != "" {
		return "did you mean " + n + "? Else " + hint
	}
	return hint
}

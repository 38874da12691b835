package spec

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// parse returns the root of the only document; nil when a finding says why not.
func (r *reader) parse(data []byte) ast.Node {
	begin := place{1, 1}
	switch {
	case len(data) > fileSizeLimit:
		r.note(begin, fieldFile, "", fmt.Sprintf("is larger than %d bytes", fileSizeLimit), "put fewer machines into one file")
		return nil
	case !utf8.Valid(data):
		r.note(begin, fieldFile, "", "is not text in UTF-8", "is it the right file?")
		return nil
	}
	r.text.lines = strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
	if at, problem := tooMuch(r.text.lines); problem != "" {
		r.note(at, fieldFile, "", problem, "a spec file has no need of that")
		return nil
	}
	tree, err := parseYAML(data)
	if err != nil {
		at := begin
		var syntax yaml.Error
		message := err.Error()
		if errors.As(err, &syntax) {
			message = syntax.GetMessage()
			if t := syntax.GetToken(); t != nil {
				at = placeOf(t)
			}
		}
		r.note(at, fieldFile, "", "is not YAML: "+oneLine(message), "look at the indentation and the quotes there")
		return nil
	}
	var root ast.Node
	for _, d := range tree.Docs {
		if d.Body == nil {
			continue
		}
		if _, comment := d.Body.(*ast.CommentGroupNode); comment {
			continue
		}
		if root != nil {
			r.note(nodePlace(d.Body), fieldFile, "", "has several documents", "write several machines as a list: machines:")
			return nil
		}
		root = d.Body
	}
	if root == nil {
		r.note(begin, fieldFile, "", "says nothing", "begin it with version: 1")
		return nil
	}
	ast.Walk(anchorFinder{r}, root)
	return root
}

// parseYAML parses, and takes a parser that gives up for a file that is wrong.
func parseYAML(data []byte) (tree *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("it cannot be parsed")
		}
	}()
	return parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
}

var dashes = regexp.MustCompile(fmt.Sprintf(`(?:(?:[-?:]|[&!*][^\s,]*)[ \t]+){%d}`, fileNestingLimit+1))

// tooMuch returns the place at which a file goes beyond what the parser may be
// asked to read, which takes its time and memory for what is nested or endless.
func tooMuch(lines []string) (place, string) {
	depth := 0
	for i, line := range lines {
		at := place{i + 1, 1}
		indent := len(line) - len(strings.TrimLeft(line, " \t"))
		switch {
		case len(line) > fileLineLimit:
			return at, fmt.Sprintf("has a line of more than %d bytes", fileLineLimit)
		case indent > fileIndentLimit && indent < len(line):
			return at, fmt.Sprintf("has a line that is indented by more than %d", fileIndentLimit)
		case dashes.MatchString(line):
			return at, "is nested too deeply"
		}
		for j := range len(line) {
			switch line[j] {
			case '[', '{':
				depth++
			case ']', '}':
				depth = max(0, depth-1)
			}
			if depth > fileNestingLimit {
				return place{i + 1, j + 1}, "is nested too deeply"
			}
		}
		if !strings.ContainsAny(line, "[]{}") && !strings.HasPrefix(line, " ") {
			depth = 0 // those before it were text
		}
	}
	return place{}, ""
}

// anchorFinder collects what has an anchor.
type anchorFinder struct{ r *reader }

func (a anchorFinder) Visit(n ast.Node) ast.Visitor {
	if anchor, ok := n.(*ast.AnchorNode); ok && anchor.Name != nil {
		name := anchor.Name.String()
		if _, twice := a.r.anchors[name]; twice {
			a.r.note(nodePlace(n), fieldFile, name, "is an anchor twice", "give each anchor a name of its own")
		}
		a.r.anchors[name] = anchor.Value
	}
	return a
}

func placeOf(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{1, 1}
	}
	return place{max(1, t.Position.Line), max(1, t.Position.Column)}
}

func nodePlace(n ast.Node) place {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 && !m.IsFlowStyle {
		return nodePlace(m.Values[0].Key)
	}
	return placeOf(n.GetToken())
}

// oneLine keeps the parser's message, which may quote the file, to one line.
func oneLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, line)
}

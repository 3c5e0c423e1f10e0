// Command compose_go prints what compose-go, the library of `docker compose`, makes of what it is given.
//
// It reads a JSON list of questions on standard input and prints a JSON list of answers. It is a judge for the tests
// of our own reader, and no part of the product.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/schema"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/cli/pkg/kvfile"
	"github.com/sirupsen/logrus"
)

// question is one of: compose files, a text with variables, the text of an env file, or the schema.
type question struct {
	Environment map[string]string `json:"environment"`
	Files       []string          `json:"files"`
	// Unchecked leaves out whether services have images and whether what they refer to exists.
	Unchecked bool    `json:"unchecked"`
	Template  *string `json:"template"`
	EnvFile   *string `json:"env_file"`
	Schema    bool    `json:"schema"`
}

type answer struct {
	Project *types.Project    `json:"project,omitempty"`
	Text    *string           `json:"text,omitempty"`
	Values  map[string]string `json:"values,omitempty"`
	Schema  json.RawMessage   `json:"schema,omitempty"`
	Error   string            `json:"error,omitempty"`
}

func main() {
	logrus.SetOutput(io.Discard)
	dotenv.RegisterFormat("raw", raw)
	var questions []question
	if err := json.NewDecoder(os.Stdin).Decode(&questions); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	answers := make([]json.RawMessage, len(questions))
	for at, asked := range questions {
		// A model may have what JSON has no word for, such as infinity.
		text, err := json.Marshal(answered(asked))
		if err != nil {
			text, _ = json.Marshal(answer{Error: "it cannot be said in JSON: " + err.Error()})
		}
		answers[at] = text
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func answered(asked question) (given answer) {
	defer func() {
		if panicked := recover(); panicked != nil {
			given = answer{Error: fmt.Sprint("panic: ", panicked)}
		}
	}()
	lookup := func(name string) (string, bool) {
		value, found := asked.Environment[name]
		return value, found
	}
	var err error
	switch {
	case asked.Schema:
		return answer{Schema: json.RawMessage(schema.Schema)}
	case asked.Template != nil:
		var text string
		text, err = template.Substitute(*asked.Template, lookup)
		given.Text = &text
	case asked.EnvFile != nil:
		given.Values, err = dotenv.ParseWithLookup(strings.NewReader(*asked.EnvFile), lookup)
	default:
		given.Project, err = project(asked)
	}
	if err != nil {
		return answer{Error: err.Error()}
	}
	return given
}

// project loads files with the options of `docker compose`, in its order, and with all profiles.
func project(asked question) (*types.Project, error) {
	if len(asked.Files) == 0 {
		return nil, errors.New("the question names no files")
	}
	environment := make([]string, 0, len(asked.Environment))
	for name, value := range asked.Environment {
		environment = append(environment, name+"="+value)
	}
	options, err := cli.NewProjectOptions(
		asked.Files,
		cli.WithEnv(environment),
		cli.WithEnvFiles(),
		cli.WithDotEnv,
		cli.WithDefaultProfiles("*"),
		cli.WithConsistency(!asked.Unchecked),
	)
	if err != nil {
		return nil, err
	}
	return options.LoadProject(context.Background())
}

// raw is the format that `docker compose` adds to those of compose-go.
func raw(reader io.Reader, name string, values map[string]string, lookup func(string) (string, bool)) error {
	lines, err := kvfile.ParseFromReader(reader, lookup)
	if err != nil {
		return fmt.Errorf("failed to parse env_file %s: %w", name, err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, "=")
		values[name] = value
	}
	return nil
}

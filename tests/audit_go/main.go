// What Go's libraries for transparency logs make of heads, proofs and trees: the judge of our own.
// It reads a list of questions as JSON, and writes the answers: "" where all of them agree, or why not.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"

	"github.com/transparency-dev/formats/log"
	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type question struct {
	Kind      string
	Note      string
	Key       string
	Witnesses []string
	First     int64
	Size      int64
	Index     int64
	Line      []byte
	OldRoot   []byte
	Root      []byte
	Proof     [][]byte
	Lines     [][]byte
	Tree      []byte
}

func main() {
	var questions []question
	if err := json.NewDecoder(os.Stdin).Decode(&questions); err != nil {
		panic(err)
	}
	answers := make([]string, 0, len(questions))
	for _, q := range questions {
		answer := ""
		if err := judged(q); err != nil {
			answer = err.Error()
		}
		answers = append(answers, answer)
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		panic(err)
	}
}

func judged(q question) error {
	switch q.Kind {
	case "head":
		return head(q)
	case "inclusion":
		return inclusion(q)
	case "consistency":
		return consistency(q)
	case "tree":
		return tree(q)
	}
	return fmt.Errorf("no such question: %q", q.Kind)
}

// The note's signatures, by Go's own package, and those of witnesses, by the one for C2SP's cosignatures.
func head(q question) error {
	own, err := note.NewVerifier(q.Key)
	if err != nil {
		return err
	}
	others := make([]note.Verifier, 0, len(q.Witnesses))
	for _, key := range q.Witnesses {
		other, err := fnote.NewVerifierForCosignatureV1(key)
		if err != nil {
			return err
		}
		others = append(others, other)
	}
	checkpoint, _, opened, err := log.ParseCheckpoint([]byte(q.Note), own.Name(), own, others...)
	if err != nil {
		return err
	}
	if int64(checkpoint.Size) != q.Size || !bytes.Equal(checkpoint.Hash, q.Root) {
		return fmt.Errorf("size %d and root %s", checkpoint.Size, base64.StdEncoding.EncodeToString(checkpoint.Hash))
	}
	if len(opened.Sigs) != 1+len(others) || len(opened.UnverifiedSigs) != 0 {
		return fmt.Errorf("%d signatures verified, %d not", len(opened.Sigs), len(opened.UnverifiedSigs))
	}
	return nil
}

func inclusion(q question) error {
	err := tlog.CheckRecord(hashes(q.Proof), q.Size, hash(q.Root), q.Index, tlog.RecordHash(q.Line))
	if err != nil {
		return err
	}
	leaf := rfc6962.DefaultHasher.HashLeaf(q.Line)
	return proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(q.Index), uint64(q.Size), leaf, q.Proof, q.Root)
}

func consistency(q question) error {
	err := tlog.CheckTree(hashes(q.Proof), q.Size, hash(q.Root), q.First, hash(q.OldRoot))
	if err != nil {
		return err
	}
	return proof.VerifyConsistency(
		rfc6962.DefaultHasher, uint64(q.First), uint64(q.Size), q.Proof, q.OldRoot, q.Root)
}

// The stored hashes, which the checksum database keeps in the same order.
func tree(q question) error {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, 0, len(indexes))
		for _, index := range indexes {
			found = append(found, stored[index])
		}
		return found, nil
	})
	for number, line := range q.Lines {
		more, err := tlog.StoredHashes(int64(number), line, reader)
		if err != nil {
			return err
		}
		stored = append(stored, more...)
	}
	var all []byte
	for _, one := range stored {
		all = append(all, one[:]...)
	}
	if !bytes.Equal(all, q.Tree) {
		return fmt.Errorf("%d bytes of other hashes", len(all))
	}
	root, err := tlog.TreeHash(int64(len(q.Lines)), reader)
	if err == nil && !bytes.Equal(root[:], q.Root) {
		err = fmt.Errorf("another root: %s", root)
	}
	return err
}

func hash(raw []byte) (h tlog.Hash) {
	copy(h[:], raw)
	return h
}

func hashes(raw [][]byte) []tlog.Hash {
	found := make([]tlog.Hash, 0, len(raw))
	for _, one := range raw {
		found = append(found, hash(one))
	}
	return found
}

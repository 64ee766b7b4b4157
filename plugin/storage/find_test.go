package storage

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"in_office365/plugin/hostfile"
)

func TestVolumeOfAConfiguration(t *testing.T) {
	const service, input = "service:\n  storage.path: /chunks\n", "pipeline:\n  inputs:\n    - name: office365\n      tag: audit\n"
	for name, tc := range map[string]struct{ config, want string }{
		"filesystem":      {service + input + "      storage.type: filesystem\n", "/chunks []"},
		"memory":          {service + input, ""},
		"no path":         {input + "      storage.type: filesystem\n", ""},
		"inherited":       {service + "  storage.inherit: on\n  storage.type: filesystem\n" + input, "/chunks []"},
		"memory, by name": {service + "  storage.inherit: on\n  storage.type: filesystem\n" + input + "      storage.type: memory\n", ""},
		"a limit": {
			service + input + "      storage.type: filesystem\n    - name: cpu\n    - name: mem\n      tag: audit\n" +
				"  outputs:\n    - name: http\n      match: aud*\n      storage.total_limit_size: 10M\n    - name: file\n      match: cpu*\n      storage.total_limit_size: 5M\n" +
				"    - name: es\n      alias: search\n      match: '*'\n      storage.total_limit_size: 1.5G\n    - name: stdout\n      match: '*'\n",
			"/chunks [{http.0 10000000 map[cpu.1:true rejected:true]} {search 1500000000 map[rejected:true]}]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "fluent-bit.yaml")
			if err := os.WriteFile(path, []byte(tc.config), 0o600); err != nil {
				t.Fatal(err)
			}
			p, err := hostfile.ReadPipeline(path)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if v := Of(p, p.Inputs[0]); v != nil {
				got = fmt.Sprint(v.Path, " ", v.Limits)
			}
			if got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

package validate

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// kinds makes an empty object of each kind.
var kinds = map[string]func() any{
	"apps/v1/Deployment":                               func() any { return new(apps.Deployment) },
	"apps/v1/StatefulSet":                              func() any { return new(apps.StatefulSet) },
	"v1/Service":                                       func() any { return new(core.Service) },
	"policy/v1/PodDisruptionBudget":                    func() any { return new(policy.PodDisruptionBudget) },
	"networking.k8s.io/v1/NetworkPolicy":               func() any { return new(networking.NetworkPolicy) },
	"keda.sh/v1alpha1/ScaledObject":                    func() any { return new(keda.ScaledObject) },
	"serving.kserve.io/v1alpha1/ClusterServingRuntime": func() any { return new(servingRuntime) },
	"serving.kserve.io/v1beta1/InferenceService":       func() any { return new(inferenceService) },
	"monitoring.coreos.com/v1/ServiceMonitor":          func() any { return new(monitor) },
}

// objects decodes every document of a file; a field that the type does not have is an error.
func objects(t *testing.T, file string) (all []any) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	documents := utilyaml.NewYAMLReader(newReader(raw))
	for {
		doc, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		var head struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal(doc, &head); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		make, ok := kinds[head.APIVersion+"/"+head.Kind]
		if !ok {
			t.Fatalf("%s: no type for %s %s", file, head.APIVersion, head.Kind)
		}
		o := make()
		if err := yaml.UnmarshalStrict(doc, o); err != nil {
			t.Errorf("%s: %s: %v", file, head.Kind, err)
		}
		all = append(all, o)
	}
}

func TestManifestsDecode(t *testing.T) {
	files, err := filepath.Glob("../*/*.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d manifests, %v", len(files), err)
	}
	for _, file := range files {
		if len(objects(t, file)) == 0 {
			t.Errorf("%s holds no object", file)
		}
	}
	// What would be let pass were the decoding not strict.
	if err := yaml.UnmarshalStrict([]byte("spec: {replica: 1}"), new(apps.Deployment)); err == nil {
		t.Error("a field that is misspelt is accepted")
	}
}

// pods are the templates of a file, by the name of their owner.
func pods(t *testing.T, file string) map[string]*core.PodTemplateSpec {
	t.Helper()
	all := map[string]*core.PodTemplateSpec{}
	for _, o := range objects(t, file) {
		switch o := o.(type) {
		case *apps.Deployment:
			all[o.Name] = &o.Spec.Template
			fits(t, o.Name, o.Spec.Selector.MatchLabels, &o.Spec.Template)
		case *apps.StatefulSet:
			all[o.Name] = &o.Spec.Template
			fits(t, o.Name, o.Spec.Selector.MatchLabels, &o.Spec.Template)
			for _, claim := range o.Spec.VolumeClaimTemplates { // which are volumes of the pod
				o.Spec.Template.Spec.Volumes = append(o.Spec.Template.Spec.Volumes, core.Volume{Name: claim.Name})
			}
		}
	}
	return all
}

// fits checks that a selector finds a pod.
func fits(t *testing.T, who string, selector map[string]string, pod *core.PodTemplateSpec) {
	t.Helper()
	if len(selector) == 0 || !maps.Equal(selector, pod.Labels) {
		t.Errorf("%s selects %v, the pod has %v", who, selector, pod.Labels)
	}
}

var clusterFiles = []string{"../kubernetes/server.yaml", "../kubernetes/cluster.yaml"}

// A pod's probes, mounts and rights.
func TestPods(t *testing.T) {
	n := 0
	for _, file := range clusterFiles {
		for name, pod := range pods(t, file) {
			n++
			c := pod.Spec.Containers[0]
			for what, probe := range map[string]*core.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
				if probe == nil && name == "weft-worker" && what != "liveness" {
					continue // nobody sends requests to a worker: the registry says whether it is ready
				}
				if probe == nil {
					t.Errorf("%s has no %s probe", name, what)
				} else if port := probePort(probe); !hasPort(&c, port) {
					t.Errorf("%s: the %s probe goes to port %s, which the container does not have", name, what, port.String())
				}
			}
			drain := int64(10) // seconds, oip.DefaultGrace
			if name == "weft-worker" {
				drain = 30 // remote.DefaultGrace
			}
			left := int64(*pod.Spec.TerminationGracePeriodSeconds)
			if c.Lifecycle != nil {
				left -= c.Lifecycle.PreStop.Sleep.Seconds
			}
			if left < drain+5 {
				t.Errorf("%s is killed %d s after SIGTERM, within the %d s of draining or just after", name, left, drain)
			}
			s := c.SecurityContext
			if *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || s.Capabilities.Drop[0] != "ALL" || !*pod.Spec.SecurityContext.RunAsNonRoot {
				t.Errorf("%s may do more than it needs", name)
			}
			volumes := map[string]bool{}
			for _, v := range pod.Spec.Volumes {
				volumes[v.Name] = true
			}
			for _, m := range c.VolumeMounts {
				if !volumes[m.Name] {
					t.Errorf("%s mounts %s, which is no volume", name, m.Name)
				}
			}
		}
	}
	if n != 3 {
		t.Errorf("looked at %d pods", n)
	}
}

func probePort(p *core.Probe) intstr.IntOrString {
	if p.HTTPGet != nil {
		return p.HTTPGet.Port
	}
	return p.TCPSocket.Port
}

func hasPort(c *core.Container, port intstr.IntOrString) bool {
	for _, p := range c.Ports {
		if p.Name == port.StrVal || port.Type == intstr.Int && p.ContainerPort == port.IntVal {
			return true
		}
	}
	return false
}

// The model asks for the format and protocol that the runtime has.
func TestRuntimeServesTheModel(t *testing.T) {
	runtime := objects(t, "../kserve/runtime.yaml")[0].(*servingRuntime)
	model := objects(t, "../kserve/inferenceservice.yaml")[0].(*inferenceService).Spec.Predictor.Model
	format := runtime.Spec.SupportedModelFormats[0]
	if model.Runtime != runtime.Name || model.ModelFormat.Name != format.Name || model.ModelFormat.Version != format.Version ||
		model.ProtocolVersion != runtime.Spec.ProtocolVersions[0] || runtime.Spec.Containers[0].Name != "kserve-container" {
		t.Errorf("the model %+v does not go with the runtime %+v", model, runtime.Spec)
	}
}

// What refers to pods, services and ports finds them.
func TestReferences(t *testing.T) {
	services := map[string]*core.Service{}
	owners := map[string]*core.PodTemplateSpec{}
	for _, file := range clusterFiles {
		all := pods(t, file)
		maps.Copy(owners, all)
		for _, o := range objects(t, file) {
			switch o := o.(type) {
			case *core.Service:
				services[o.Name] = o
				pod := all[o.Spec.Selector["app.kubernetes.io/name"]]
				if pod == nil {
					t.Fatalf("service %s finds no pod", o.Name)
				}
				fits(t, "service "+o.Name, o.Spec.Selector, pod)
				for _, p := range o.Spec.Ports {
					if !hasPort(&pod.Spec.Containers[0], p.TargetPort) {
						t.Errorf("service %s: no port %s", o.Name, p.TargetPort.String())
					}
				}
			case *policy.PodDisruptionBudget:
				fits(t, "budget "+o.Name, o.Spec.Selector.MatchLabels, all[o.Name])
			case *networking.NetworkPolicy:
				fits(t, "policy "+o.Name, o.Spec.PodSelector.MatchLabels, all[o.Name])
				for _, rule := range o.Spec.Ingress {
					for _, p := range rule.Ports {
						if !hasPort(&all[o.Name].Spec.Containers[0], *p.Port) {
							t.Errorf("policy %s: no port %s", o.Name, p.Port.String())
						}
					}
				}
			}
		}
	}
	scaled := objects(t, "../keda/workers.yaml")[0].(*keda.ScaledObject)
	worker := strings.Join(owners["weft-worker"].Spec.Containers[0].Args, " ")
	if bus := services["weft-bus"]; bus == nil || !strings.Contains(worker, fmt.Sprintf("nats://%s:%d", bus.Name, bus.Spec.Ports[0].Port)) {
		t.Errorf("workers look for the bus elsewhere: %s", worker)
	}
	if owners[scaled.Spec.ScaleTargetRef.Name] == nil {
		t.Errorf("KEDA scales %s, which is nowhere", scaled.Spec.ScaleTargetRef.Name)
	}
	service, port, _ := strings.Cut(scaled.Spec.Triggers[0].Metadata["scalerAddress"], ":")
	found := false
	if s := services[service]; s != nil {
		for _, p := range s.Spec.Ports {
			found = found || p.Name == "grpc" && strconv.Itoa(int(p.Port)) == port
		}
	}
	if !found {
		t.Errorf("KEDA asks %s:%s, which is no service's gRPC port", service, port)
	}
}

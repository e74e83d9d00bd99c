package validate

import (
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// As much of KServe's and of the Prometheus operator's types as the manifests use, with the names and places that the
// fields have in github.com/kserve/kserve/pkg/apis/serving (0.20). The modules themselves are left out: KServe's does not
// build beside KEDA's.

// servingRuntime is a ClusterServingRuntime.
type servingRuntime struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		Annotations           map[string]string `json:"annotations"`
		SupportedModelFormats []struct {
			Name       string `json:"name"`
			Version    string `json:"version"`
			AutoSelect bool   `json:"autoSelect"`
			Priority   int32  `json:"priority"`
		} `json:"supportedModelFormats"`
		ProtocolVersions []string         `json:"protocolVersions"`
		Containers       []core.Container `json:"containers"`
		Volumes          []core.Volume    `json:"volumes"`
	} `json:"spec"`
}

// inferenceService is an InferenceService.
type inferenceService struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		Predictor struct {
			core.PodSpec `json:",inline"`
			MinReplicas  *int32 `json:"minReplicas"`
			Model        struct {
				ModelFormat struct {
					Name    string `json:"name"`
					Version string `json:"version"`
				} `json:"modelFormat"`
				Runtime         string `json:"runtime"`
				ProtocolVersion string `json:"protocolVersion"`
				StorageURI      string `json:"storageUri"`
				core.Container  `json:",inline"`
			} `json:"model"`
		} `json:"predictor"`
	} `json:"spec"`
}

// monitor is a ServiceMonitor.
type monitor struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		Selector  meta.LabelSelector `json:"selector"`
		Endpoints []struct {
			Port     string `json:"port"`
			Path     string `json:"path"`
			Interval string `json:"interval"`
		} `json:"endpoints"`
	} `json:"spec"`
}

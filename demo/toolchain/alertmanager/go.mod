module diagnose.example/toolchain/alertmanager

go 1.26

require github.com/prometheus/alertmanager v0.34.2

package main

import (
	"fmt"
	"time"
)

// sizeText is a size as people read it.
func sizeText(bytes int64) string {
	const unit = 1024
	if bytes < unit {
		return fmt.Sprintf("%d B", bytes)
	}
	value, power := float64(bytes)/unit, 0
	for value >= unit && power < 3 {
		value, power = value/unit, power+1
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGT"[power])
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

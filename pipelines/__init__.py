"""What should run: specification, plan, run machine. Pure: values in, values out."""

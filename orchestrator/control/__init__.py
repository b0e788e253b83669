"""What can be asked of a host by command, and the socket through which it is asked."""

# SPDX-License-Identifier: MIT
package Greeting;
use strict;

sub new {
    my ($class, $name) = @_;
    return bless { name => $name }, $class;
}

sub text {
    my ($self) = @_;
    return "Hello, $self->{name}!";
}

1;
